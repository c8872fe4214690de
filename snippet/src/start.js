// The snippet on a page: self.footfall, and what it listens to.
import { attend, globals, hide, leave, look, page, record, scroll, view } from "./pages.js";
import { add, body, core, plan, setConsent } from "./sender.js";
import { focusin, sent, submit, submitted } from "./forms.js";
import { IDLE, PATIENCE } from "./limits.js";
import { guard, on, patch, stored, warn } from "./guard.js";
import { clicked } from "./clicks.js";
import { configure, data, endpoint } from "./rules.js";

// start makes self.footfall and begins to count once the page is seen: a prerendered
// page or a tab that is never opened is no visit. Until then what would be an event is kept.
export const start = (tag) => {
  if (WARN && !tag) return warn("no data-site");
  const stub = self.footfall;
  if (stub?.set && !stub.q) return;
  // What is kept, until it begins, behind the first look; not a list where nothing is to be counted.
  let kept = configure(tag) || [look];
  setConsent(data.consent);
  const keep =
    (fn) =>
    (...args) => {
      const call = guard(() => fn(...args));
      kept ? kept.push?.(call) : call();
    };
  const api = (self.footfall = Object.assign(
    keep((name, props, fields) => name && record("custom", { ...fields, name, props })),
    {
      set: (props) => Object.assign(globals, props),
      off(on = 1) {
        stored(() => (localStorage.footfall_off = on || ""));
        setConsent("no");
      },
      identify: (id) => (page.user_id = id),
      use: keep((extension) =>
        extension(Object.assign(core, { leave, endpoint, body, record, add, data })),
      ),
      page: keep(view),
      consent: setConsent,
    },
  ));
  stub?.q?.map((args) => (api[args.m] || api)(...args));

  const begin = () => {
    if (!kept.push || (!UNSEEN && document.hidden)) return;
    // The first batch waits for a frame, because sizes that are asked for earlier cost a layout,
    // or for the extensions, which may have a say in it.
    plan(PATIENCE);
    if (!data.ext) requestAnimationFrame(() => plan());
    // An extension is fetched by the running script, so that a page's nonce holds for it and no
    // policy for Trusted Types is needed. To guard a problem is to swallow it, in fewest bytes.
    else if (EDITION) {
      data.ext
        .split(",")
        .map((name) =>
          import(/* webpackIgnore: true */ new URL(SCRIPT + "-" + name + EDITION, tag.src || location)).catch(guard),
        );
    }
    // The zone's first call costs up to 70 ms on a slow phone: not before the first send, and
    // only when nothing else is to be done.
    if (ZONE) {
      setTimeout(() => (page.timezone = Intl.DateTimeFormat().resolvedOptions().timeZone), IDLE);
    }
    on({
      blur: attend,
      // pagehide and hidden both: older Safari leaves out one of them. Never unload,
      // it keeps the page out of the back/forward cache.
      pagehide: hide,
      scroll,
      online: plan,
      ...(CLICKS && { click: clicked }),
      focus: attend,
      ...(BFCACHE && {
        // A page that comes back is a pageview, with the referrer it had.
        pageshow: (event) => event.persisted && page.url && view(null, page.referrer),
      }),
      ...(CLICKS && { auxclick: clicked }),
      ...(FORMS && { focusin }),
      ...(FORMS && { submit: submitted }),
      ...(SPA && { popstate: look }),
      visibilitychange: look,
    });
    if (SPA) {
      // What both tell of is counted once. An element with id="navigation" has this name too.
      stored(() => navigation.addEventListener("currententrychange", guard(look)));
      patch(history, "pushState", look);
      patch(history, "replaceState", REPLACE ? look : () => look({ navigationType: "replace" }));
    }
    // form.submit() of a script has no event. Where it follows one, for a form that was looked
    // over first, that was it.
    if (FORMS) patch(HTMLFormElement.prototype, "submit", (form) => form == sent || submit(form));
    kept.map((call) => call((kept = 0)));
  };
  on({ visibilitychange: begin });
  begin();
};
