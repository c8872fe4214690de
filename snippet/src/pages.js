// Which page is being looked at, for how long, and how far it was read.
import { clean, routed } from "./address.js";
import { add, flush } from "./sender.js";
import { encode } from "./batch.js";
import { data } from "./rules.js";
import { ENGAGED } from "./limits.js";
import { uuid } from "./uuid.js";

// page is the fields, globals the properties of each event from now on.
export const page = {};
export const globals = {};
let at, since, spent, least, bottom, field;

// touch remembers the form field that the visitor was in last, for the leave.
export const touch = (props) => {
  field = props;
};

// The copy is taken now, so that neither what the page does to its props later nor
// what JSON cannot hold gets into the batch.
export const record = (type, fields, to = add) => {
  to({
    url: clean(HASH ? routed() : location.href),
    ...page,
    ...fields,
    props: JSON.parse(encode({ ...globals, ...fields.props })),
    event_id: uuid(),
    type,
  });
};

export const view = (props, referrer = page.url || clean(document.referrer)) => {
  leave();
  Object.assign(page, { url: clean(HASH ? routed() : location.href), pageview_id: uuid(), referrer });
  spent = least = bottom = field = 0;
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
  if (LEAVE && spent >= least) {
    scroll();
    // Written in place: a name of its own is not packed away.
    record(
      "leave",
      {
        props: field,
        engaged_ms: spent,
        scroll_pct: Math.min(100, (100 * bottom) / document.documentElement.scrollHeight),
      },
      to,
    );
    if (!to) {
      spent = 0;
      least = ENGAGED;
    }
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
  // What makes a page another one. The first look has no event.
  const moved =
    at !=
    (at = SPA
      ? HASH
        ? QUERY
          ? location.href
          : location.pathname + location.hash
        : location.href.split(QUERY ? "#" : /[?#]/)[0]
      : 1);
  if (moved && (REPLACE || event?.navigationType != "replace") && AUTO && data.auto != "false") view();
};
