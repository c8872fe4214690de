import { on } from "./guard.js";
import { record } from "./pages.js";

// Of a path or of a query's value: /get?file=report.pdf is a download too.
const FILE =
  /\.(pdf|docx?|xlsx?|pptx?|csv|txt|epub|zip|rar|7z|t?gz|dmg|exe|msi|pkg|deb|rpm|apk|iso|mp[34]|mov|avi|wav)([?#&]|$)/i;
const LINK = ":any-link";

// Attributes, not properties: a field named "id" takes the place of its form's
// own id. A method that is hidden so throws; it never yields a value.
export const attribute = (el, name) => el.getAttribute(name);

export const address = (el, name) =>
  new URL(attribute(el, name) || location.href, document.baseURI);

export const named = (el) => attribute(el, "data-event");

// send records what happened to an element, with the page's own data-event-… over the
// properties that we found.
export function send(type, el, name, props) {
  const fields = { name, props };
  for (const key of el.getAttributeNames()) {
    const own = key.split("data-event-")[1];
    if (own) (/^(revenue|currency)$/.test(own) ? fields : props)[own] = attribute(el, key);
  }
  record(type, fields);
}

function kind(link) {
  const { protocol, host, href } = address(link, "href");
  if (!/^http/.test(protocol)) return CONTACT && /^(mailto|tel)/.test(protocol) && protocol.slice(0, -1);
  if (DOWNLOAD && (link.hasAttribute("download") || FILE.test(href))) return "download";
  return OUTBOUND && host !== location.host && "outbound";
}

// clicked finds the innermost thing that counts: one click is at most one event. A
// form with data-event is counted when it is sent, not when it is touched. The query
// and fragment of a link are cut: they may carry what somebody typed, or a secret.
export function clicked(event) {
  for (const el of event.composedPath()) {
    const name = el.matches && ((!el.matches("form") && named(el)) || (el.matches(LINK) && kind(el)));
    if (name && event.button < 2) {
      const link = el.closest(LINK);
      return send("click", el, name, {
        id: attribute(el, "id"),
        tag: el.localName,
        href: link && address(link, "href").href.split(/[?#]/)[0],
        text: link && link.textContent.replace(/\s+/g, " ").trim().slice(0, 100),
      });
    }
  }
}

export const openClicks = () => on({ click: clicked, auxclick: clicked });
