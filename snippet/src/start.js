// The snippet on a page: window.footfall, and what it listens to.
import { clicked } from "./clicks.js";
import { focusin, sentByScript, submitted } from "./forms.js";
import { stored, guard, on, patch } from "./guard.js";
import { IDLE, PATIENCE } from "./limits.js";
import { attend, globals, hide, leave, look, page, record, scroll, view } from "./pages.js";
import { configure, data, endpoint, source } from "./rules.js";
import { add, body, core, plan, setConsent } from "./sender.js";

// start makes window.footfall and begins to count once the page is seen: a prerendered
// page or a tab that is never opened is no visit. Until then what would be an event is kept.
export const start = (options, src) => {
  const stub = window.footfall || {};
  if (stub.set && !stub.q) return;
  // What is kept, until it begins; not a list where nothing is to be counted.
  let kept = configure(options, src) || [];
  setConsent(data.consent);
  const keep =
    (fn) =>
    (...args) => {
      const call = guard(() => fn(...args));
      kept ? kept.push?.(call) : call();
    };
  const api = (window.footfall = Object.assign(
    keep((name, props, fields) => name && record("custom", { ...fields, name, props })),
    {
      page: keep(view),
      use: keep((extension) =>
        extension(Object.assign(core, { record, leave, add, body, data, endpoint })),
      ),
      identify(id) {
        page.user_id = id;
      },
      set(props) {
        Object.assign(globals, props);
      },
      consent: setConsent,
      off(on = 1) {
        stored(() => (localStorage.footfall_off = on || ""));
        setConsent("no");
      },
    },
  ));
  (stub.q || []).map((args) => (args.m ? api[args.m] : api)(...args));

  const begin = () => {
    if (!kept.push || (!UNSEEN && document.hidden)) return;
    // The first batch waits for a frame, because sizes that are asked for earlier cost a layout,
    // or for the extensions, which may have a say in it.
    plan(PATIENCE);
    if (!data.ext) requestAnimationFrame(() => plan());
    // An extension is fetched by the running script, so that a page's nonce holds for it and no
    // policy for Trusted Types is needed.
    else if (EDITION) {
      data.ext
        .split(",")
        .map((name) =>
          import(/* webpackIgnore: true */ new URL(SCRIPT + "-" + name + EDITION, source)).catch(Boolean),
        );
    }
    // The zone's first call costs up to 70 ms on a slow phone: not before the first send, and
    // only when nothing else is to be done.
    if (ZONE) {
      setTimeout(() => {
        page.timezone = Intl.DateTimeFormat().resolvedOptions().timeZone;
      }, IDLE);
    }
    on({
      online: plan,
      visibilitychange: look,
      // pagehide and hidden both: older Safari leaves out one of them. Never unload,
      // it keeps the page out of the back/forward cache.
      pagehide: hide,
      focus: attend,
      blur: attend,
      scroll,
      ...(SPA && { popstate: look }),
      ...(BFCACHE && {
        // A page that comes back is a pageview, with the referrer it had.
        pageshow(event) {
          if (event.persisted && page.url) view(null, page.referrer);
        },
      }),
      ...(CLICKS && { click: clicked, auxclick: clicked }),
      ...(FORMS && { submit: submitted, focusin }),
    });
    if (FORMS) patch(HTMLFormElement.prototype, "submit", sentByScript);
    // An element with id="navigation" has this name too, but no entries.
    if (SPA) {
      if (window.navigation?.currentEntry) {
        navigation.addEventListener("currententrychange", guard(look));
      } else {
        patch(history, "pushState", look);
        patch(history, "replaceState", REPLACE ? look : () => look({ navigationType: "replace" }));
      }
    }
    look();
    const calls = kept;
    kept = 0;
    calls.map((call) => call());
  };
  on({ visibilitychange: begin });
  begin();
};
