// clean cuts what may be a secret: the fragment, and each query key that neither tells
// where the visit comes from nor is named by the site. The build puts the keys in for KEPT.
export const clean = (href) => {
  const parts = href.split(/\?|#.*/);
  const query = (parts[1] || "")
    .split("&")
    .filter((pair) => /^(KEPT)=/i.test(pair))
    .join("&");
  return parts[0] + (query && "?" + query);
};

// key is what makes a page another one.
export const key = () =>
  (QUERY ? location.search : "") + (HASH ? location.hash : "") + location.pathname;

// here is the page's address as it is sent. A fragment that counts is the end of the path.
export const here = () => {
  if (!HASH || !location.hash) return clean(location.href);
  const [base] = location.href.split(/[?#]/);
  const [route] = location.hash.replace(/^#[!/]*/, "/").split("?");
  return clean(base.replace(/\/$/, "") + route + location.search);
};
