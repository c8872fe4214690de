import { guard, on } from "./guard.js";
import { ENGAGED } from "./limits.js";
import { uuid } from "./uuid.js";

// The fragment is no part of a page: it may be a secret, and never a new page.
const here = () => location.href.split("#")[0];
const now = () => performance.now();

// createPages knows which page is being looked at, and for how long. Nothing is
// recorded until the page was seen once: a prerendered page or a tab that is
// never opened is no visit. It returns record(type, fields) and view(props).
export function createPages({ add, flush }, auto) {
  const held = [];
  let page, seen, since, spent, bottom, left;

  // Calls before the page was seen wait for it.
  const whenSeen =
    (fn) =>
    (...args) => {
      if (seen) fn(...args);
      else held.push(() => fn(...args));
    };

  // The copy is taken now, so that neither what the page does to its props later
  // nor what JSON cannot hold gets into the batch.
  function record(type, fields) {
    const event = { url: here(), ...page, ...fields, event_id: uuid(), type };
    add(JSON.parse(JSON.stringify(event)));
  }

  function view(props, referrer = page ? page.url : document.referrer) {
    leave();
    page = { url: here(), referrer, pageview_id: uuid() };
    since = document.hidden ? 0 : now();
    spent = bottom = left = 0;
    record("pageview", { props });
  }

  function scroll() {
    bottom = Math.max(bottom, scrollY + innerHeight);
  }

  // Engaged time is what passed since the last leave of this pageview, so the
  // sum over its leave events is right however often the tab was put away.
  function leave() {
    if (since) spent += now() - since;
    since = 0;
    if (!page || (left && spent < ENGAGED)) return;
    scroll();
    record("leave", {
      engaged_ms: Math.round(spent),
      scroll_pct: Math.min(
        100,
        Math.round((100 * bottom) / (document.documentElement.scrollHeight || 1)),
      ),
    });
    spent = 0;
    left = 1;
  }

  function hide() {
    leave();
    flush(1);
  }

  // look is called whenever the URL or the visibility may have changed.
  const look = guard(() => {
    if (document.prerendering || document.hidden) return;
    seen = 1;
    since = since || now();
    if (auto && (!page || page.url !== here())) view();
    held.splice(0).map((fn) => fn());
  });

  // pagehide and hidden both: older Safari leaves out one of them. Never unload,
  // it keeps the page out of the back/forward cache.
  on(document, "visibilitychange", () => (document.hidden ? hide() : look()));
  on(document, "prerenderingchange", look);
  on(window, "pagehide", hide);
  on(window, "scroll", scroll);
  on(window, "pageshow", (event) => {
    // A restored page is a pageview, with the referrer it had.
    if (event.persisted && auto && page) view(undefined, page.referrer);
  });
  route(look);
  look();
  return { record: whenSeen(record), view: whenSeen((props) => view(props)) };
}

function route(look) {
  // An element with id="navigation" has this name too, but no entries.
  if ((window.navigation || 0).currentEntry) {
    return on(navigation, "currententrychange", look);
  }
  for (const name of ["pushState", "replaceState"]) {
    const original = history[name];
    history[name] = function () {
      const result = original.apply(this, arguments);
      look();
      return result;
    };
  }
  on(window, "popstate", look);
}
