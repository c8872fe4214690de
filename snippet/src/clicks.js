import { record } from "./pages.js";

// Attributes, here and elsewhere, not properties: a field named "id" takes the place of its
// form's own id. A method that is hidden so throws; it never yields a value.
export const address = (el, name) => new URL(el.getAttribute(name) || location, el.baseURI);

// send records what happened to an element, with the page's own data-event-… over the
// properties that we found.
export const send = (type, el, name, props) => {
  const fields = { name, props };
  el.getAttributeNames().map((key) => {
    const own = key.split("data-event-")[1];
    if (own) (/^(revenue|currency)$/.test(own) ? fields : props)[own] = el.getAttribute(key);
  });
  record(type, fields);
};

// clicked finds the innermost thing that counts: one click is at most one event. A
// form with data-event is counted when it is sent, not when it is touched. The query
// and fragment of a link are cut: they may carry what somebody typed, or a secret.
export const clicked = (event) => {
  let name, url;
  const el = event.composedPath().find(
    (el) =>
      el.matches?.(":not(form)[data-event],:any-link") &&
      ((url = address(el, "href")),
      (name =
        el.getAttribute("data-event") ||
        (CONTACT && url.href.match(/^(mailto|tel):/)?.[1]) ||
        // A script has none.
        (url.host &&
          (DOWNLOAD &&
          (el.hasAttribute("download") ||
            // Of a path or of a query's value: /get?file=report.pdf is a download too.
            /\.(exe|mov|7z|msi|pdf|zip|dmg|avi|t?gz|mp\d|txt|csv|iso|(doc|xls|ppt)x?|deb|rpm|pkg|apk|epub|rar|wav)([?#&]|$)/i.test(
              url.href,
            ))
            ? "download"
            : OUTBOUND && url.host != location.host && "outbound")))),
  );
  if (el && event.button < 2) {
    const link = el.closest(":any-link");
    send("click", el, name, {
      text: link?.textContent.replace(/\s+/g, " ").trim().slice(0, 100),
      href: link && address(link, "href").href.split(/[?#]/)[0],
      id: el.getAttribute("id"),
    });
  }
};
