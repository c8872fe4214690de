// Which page is being looked at, for how long, and how far it was read.
import { clean, here, key } from "./address.js";
import { encode } from "./batch.js";
import { on, patch } from "./guard.js";
import { ENGAGED } from "./limits.js";
import { data } from "./rules.js";
import { add, core, flush } from "./sender.js";
import { uuid } from "./uuid.js";

const globals = {};
let page, at, since, spent, bottom, left, user_id, field;

export const identify = (id) => {
  user_id = id;
};

export const set = (props) => Object.assign(globals, props);

// touch remembers the form field that the visitor was in last, for the leave.
export const touch = (props) => {
  field = props;
};

// The copy is taken now, so that neither what the page does to its props later nor
// what JSON cannot hold gets into the batch.
export function record(type, { callback, props, ...fields }) {
  const event = {
    url: here(),
    ...page,
    user_id,
    ...fields,
    props: { ...globals, ...props },
    event_id: uuid(),
    type,
  };
  if (core.consent !== "no") add({ ...JSON.parse(encode(event)), callback });
}

export function view(props, referrer = page ? page.url : clean(document.referrer)) {
  leave();
  page = { url: here(), referrer, pageview_id: uuid() };
  spent = bottom = left = field = 0;
  record("pageview", { props });
}

function scroll() {
  bottom = Math.max(bottom, scrollY + innerHeight);
}

// attend adds up the time in which somebody looks: the page is visible and has the focus.
function attend() {
  const now = performance.now();
  if (since) spent += now - since;
  since = !document.hidden && (!FOCUS || document.hasFocus()) && now;
}

// Engaged time is what passed since the last leave of this pageview, so the sum over
// its leave events is right however often the tab was put away.
function leave() {
  attend();
  if (!LEAVE || !page || (left && spent < ENGAGED)) return;
  scroll();
  record("leave", {
    engaged_ms: spent | 0,
    scroll_pct: Math.min(100, Math.round((100 * bottom) / document.documentElement.scrollHeight)),
    props: field,
  });
  spent = 0;
  left = 1;
}

function hide() {
  leave();
  since = 0;
  flush(1);
}

// look is called whenever the URL or the visibility may have changed.
function look({ navigationType } = {}) {
  if (document.hidden) return hide();
  attend();
  const before = at;
  at = key();
  if (
    AUTO &&
    data.auto !== "false" &&
    (!page || (SPA && at !== before && (REPLACE || navigationType !== "replace")))
  ) {
    view();
  }
}

export function openPages() {
  // pagehide and hidden both: older Safari leaves out one of them. Never unload,
  // it keeps the page out of the back/forward cache.
  on({
    visibilitychange: look,
    popstate: look,
    pagehide: hide,
    focus: attend,
    blur: attend,
    scroll,
    pageshow({ persisted }) {
      // A restored page is a pageview, with the referrer it had.
      if (BFCACHE && persisted && page) view(undefined, page.referrer);
    },
  });
  // An element with id="navigation" has this name too, but no entries.
  if ((window.navigation || 0).currentEntry) on({ currententrychange: look }, navigation);
  else {
    patch(history, "pushState", look);
    patch(history, "replaceState", REPLACE ? look : () => look({ navigationType: "replace" }));
  }
  look();
}
