import { record } from "./pages.js";

// Of a path or of a query's value: /get?file=report.pdf is a download too.
const FILE =
  /\.(pdf|docx?|xlsx?|pptx?|csv|txt|epub|zip|rar|7z|t?gz|dmg|exe|msi|pkg|deb|rpm|apk|iso|mp[34]|mov|avi|wav)([?#&]|$)/i;
const LINK = ":any-link";

// Attributes, not properties: a field named "id" takes the place of its form's
// own id. A method that is hidden so throws; it never yields a value.
export const attribute = (el, name) => el.getAttribute(name);

export const address = (el, name) => new URL(attribute(el, name) || location, el.baseURI);

export const named = (el) => attribute(el, "data-event");

// send records what happened to an element, with the page's own data-event-… over the
// properties that we found.
export const send = (type, el, name, props) => {
  const fields = { name, props };
  for (const key of el.getAttributeNames()) {
    const own = key.split("data-event-")[1];
    if (own) (/^(revenue|currency)$/.test(own) ? fields : props)[own] = attribute(el, key);
  }
  record(type, fields);
};

const kind = (link) => {
  const url = address(link, "href");
  return (
    (CONTACT && url.href.match(/^(mailto|tel):/)?.[1]) ||
    (/^http/.test(url.href) &&
      (DOWNLOAD && (link.hasAttribute("download") || FILE.test(url.href))
        ? "download"
        : OUTBOUND && url.host !== location.host && "outbound"))
  );
};

// clicked finds the innermost thing that counts: one click is at most one event. A
// form with data-event is counted when it is sent, not when it is touched. The query
// and fragment of a link are cut: they may carry what somebody typed, or a secret.
export const clicked = (event) => {
  if (event.button > 1) return;
  for (const el of event.composedPath()) {
    const name = el.matches?.(":not(form)[data-event]," + LINK) && (named(el) || kind(el));
    if (name) {
      const link = el.closest(LINK);
      return send("click", el, name, {
        id: attribute(el, "id"),
        href: link && address(link, "href").href.split(/[?#]/)[0],
        text: link?.textContent.replace(/\s+/g, " ").trim().slice(0, 100),
      });
    }
  }
};
