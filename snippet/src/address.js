// clean cuts what may be a secret: the fragment, and each query key that neither tells
// where the visit comes from nor is named by the site. The build puts the keys in for KEPT.
export const clean = (href) => {
  const [path, query] = href.split(/\?|#.*/);
  return path + ("&" + query).replace(/&(?!(KEPT)=)[^&]*/gi, "").replace("&", "?");
};

// here is the page's address, before it is cleaned. A fragment that counts is the end of the path.
export const routed = () => {
  if (!location.hash) return location.href;
  const [base] = location.href.split(/[?#]/);
  const [route] = location.hash.replace(/^#[!/]*/, "/").split("?");
  return base.replace(/\/$/, "") + route + location.search;
};
