import { on } from "./guard.js";

const DOWNLOAD = new RegExp(
  "\\.(pdf|docx?|xlsx?|pptx?|csv|txt|epub|zip|rar|7z|t?gz|dmg|exe|msi|pkg|deb|rpm|apk|iso" +
    "|mp[34]|mov|avi|mkv|webm|wav)$",
  "i",
);
const LINK = "a[href],area[href]";
const EVENT = "data-event";

// Attributes, not properties: a field named "id" takes the place of its form's
// own id. A method that is hidden so throws; it never yields a value.
const attribute = (el, name) => el.getAttribute(name) || undefined;
const address = (el, name) => new URL(attribute(el, name) || location.href, document.baseURI);

// The page's own data-event-… properties, over those we found.
function marked(el, props) {
  for (const name of el.getAttributeNames()) {
    if (name.startsWith("data-event-")) props[name.slice(11)] = attribute(el, name);
  }
  return props;
}

function kind(link) {
  const { protocol, pathname, host } = address(link, "href");
  if (/^(mailto|tel):/.test(protocol)) return protocol.slice(0, -1);
  if (!/^http/.test(protocol)) return;
  if (link.hasAttribute("download") || DOWNLOAD.test(pathname)) return "download";
  if (host !== location.host) return "outbound";
}

// found describes the click on el. The query and fragment of a link are cut:
// they may carry what somebody typed, or a secret.
function found(el, name) {
  const props = { id: attribute(el, "id"), tag: el.localName };
  const link = el.closest(LINK);
  if (link) {
    props.href = address(link, "href").href.split(/[?#]/)[0];
    props.text = link.textContent.replace(/\s+/g, " ").trim().slice(0, 100);
  }
  return { name, props: marked(el, props) };
}

// click finds the innermost thing that counts: one click is at most one event.
// A form with data-event is counted when it is sent, not when it is touched.
export function click(event) {
  for (const el of event.composedPath()) {
    if (!el.matches) continue;
    const name =
      (!el.matches("form") && attribute(el, EVENT)) || (el.matches(LINK) && kind(el));
    if (name) return found(el, name);
  }
}

// form describes the form, never what was typed into it: no field is looked at.
export function form({ target }) {
  const form_id = attribute(target, "id");
  const form_name = attribute(target, "name");
  const form_action = address(target, "action").pathname;
  const form_method = (attribute(target, "method") || "get").toLowerCase();
  return {
    name: attribute(target, EVENT) || form_id || form_name || form_action,
    props: marked(target, { form_id, form_name, form_action, form_method }),
  };
}

// capture listens on the document, so that what the page adds later counts too.
export function capture(record) {
  function clicked(event) {
    const fields = event.button < 2 && click(event);
    if (fields) record("click", fields);
  }
  on(document, "click", clicked);
  on(document, "auxclick", clicked);
  on(document, "submit", (event) => record("form", form(event)));
}
