// clean cuts what may be a secret: the fragment, and each query key that neither tells
// where the visit comes from nor is named by the site.
export function clean(href) {
  const kept = RegExp(KEPT, "i");
  const [base, query = ""] = href.split(/\?|#.*/);
  return (
    base +
    query
      .split("&")
      .filter((pair) => kept.test(pair))
      .join("&")
      .replace(/^./, "?$&")
  );
}

// key is what makes a page another one.
export const key = () =>
  location.pathname + (QUERY ? location.search : "") + (HASH ? location.hash : "");

// here is the page's address as it is sent. A fragment that counts is the end of the path.
export function here() {
  const { href, hash, search } = location;
  if (!HASH || !hash) return clean(href);
  const route = hash.replace(/^#[!/]*/, "/").split("?")[0];
  return clean(href.split(/[?#]/)[0].replace(/\/$/, "") + route + search);
}
