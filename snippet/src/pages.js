// Which page is being looked at, for how long, and how far it was read.
import { clean, here, key } from "./address.js";
import { encode } from "./batch.js";
import { ENGAGED } from "./limits.js";
import { data } from "./rules.js";
import { add, core, flush } from "./sender.js";
import { uuid } from "./uuid.js";

// page is the fields, globals the properties of each event from now on.
export const page = {};
export const globals = {};
let at, since, spent, bottom, least, field;

// touch remembers the form field that the visitor was in last, for the leave.
export const touch = (props) => {
  field = props;
};

// The copy is taken now, so that neither what the page does to its props later nor
// what JSON cannot hold gets into the batch.
export const record = (type, fields, to = add) => {
  if (core.consent !== "no") {
    to({
      url: here(),
      ...page,
      ...fields,
      props: JSON.parse(encode({ ...globals, ...fields.props })),
      event_id: uuid(),
      type,
    });
  }
};

export const view = (props, referrer = page.url || clean(document.referrer)) => {
  leave();
  Object.assign(page, { url: here(), referrer, pageview_id: uuid() });
  spent = bottom = least = field = 0;
  record("pageview", { props });
};

export const scroll = () => {
  bottom = Math.max(bottom, scrollY + innerHeight);
};

// attend adds up the time in which somebody looks. A page with the focus is visible.
export const attend = () => {
  const now = performance.now();
  if (since) spent += now - since;
  since = (FOCUS ? document.hasFocus() : !document.hidden) && now;
};

// Engaged time is what passed since the last leave of this pageview, so the sum over
// its leave events is right however often the tab was put away. A draft, handed to `to`, is none:
// the next leave has all of it again.
export const leave = (to) => {
  attend();
  if (LEAVE && page.url && spent >= least) {
    scroll();
    record("leave", {
      engaged_ms: spent,
      scroll_pct: Math.min(100, Math.round((100 * bottom) / document.documentElement.scrollHeight)),
      props: field,
    }, to);
    if (to) return;
    spent = 0;
    least = ENGAGED;
  }
};

export const hide = () => {
  leave();
  since = 0;
  flush(1);
};

// look is called whenever the URL or the visibility may have changed.
export const look = (event) => {
  // With UNSEEN the first look counts what nobody sees yet.
  if (UNSEEN ? document.hidden && at : document.hidden) return hide();
  attend();
  const before = at;
  at = key();
  if (
    AUTO &&
    data.auto !== "false" &&
    (SPA
      ? at !== before && (REPLACE || !before || event?.navigationType !== "replace")
      : !before)
  ) {
    view();
  }
};
