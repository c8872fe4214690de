import { capture } from "./capture.js";
import { guard, warn } from "./guard.js";
import { createPages } from "./pages.js";
import { createSender } from "./sender.js";
import { uuid } from "./uuid.js";

// A tag manager or a bundle has no currentScript of ours.
function findTag() {
  const tags = [document.currentScript, document.querySelector("script[data-site]")];
  return tags.find((tag) => tag && tag.dataset.site);
}

function tabSession() {
  try {
    return (sessionStorage.footfall = sessionStorage.footfall || uuid());
  } catch (denied) {
    // No session, then.
  }
}

// createEnvelope returns the function that gives the fields of every event.
function createEnvelope(fields) {
  // The first Intl call costs up to 70 ms on a slow phone: not before the first
  // send, and only when nothing else is to be done.
  const zone = guard(() => {
    fields.timezone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  });
  setTimeout(() => (window.requestIdleCallback || setTimeout)(zone), 1000);
  return (transport) => ({
    ...fields,
    sent_at: Date.now(),
    transport,
    snippet_version: VERSION,
    language: navigator.language,
    screen_w: screen.width,
    screen_h: screen.height,
    viewport_w: innerWidth,
    viewport_h: innerHeight,
  });
}

// run starts counting and returns the pages, or nothing for a visitor who has
// opted out of being counted.
function run(tag) {
  const { site, endpoint, session, auto, gpc } = tag.dataset;
  const fields = { site, gpc: !!navigator.globalPrivacyControl };
  if (fields.gpc && gpc !== "ignore") return;
  if (session === "tab") fields.session_id = tabSession();
  const url = new URL(endpoint || "/e", tag.src || location.href).href;
  const pages = createPages(createSender(url, createEnvelope(fields)), auto !== "false");
  capture(pages.record);
  return pages;
}

function start() {
  const stub = window.footfall || {};
  if (stub.version) return;
  const tag = findTag();
  if (!tag) return warn("no data-site");
  const pages = run(tag);
  const api = guard((name, props, fields) => {
    if (pages && name) pages.record("custom", { ...fields, name, props });
  });
  api.page = guard((props) => pages && pages.view(props));
  api.version = VERSION;
  window.footfall = api;
  for (const call of stub.q || []) api(...call);
}

guard(start)();
