import { openClicks } from "./clicks.js";
import { openForms } from "./forms.js";
import { guard, on, stored, warn } from "./guard.js";
import { identify, openPages, record, set, view } from "./pages.js";
import { configure, data, endpoint, isSilent, source } from "./rules.js";
import { add, core, openSender, setConsent } from "./sender.js";

const methods = {
  event: (name, props, fields) => name && record("custom", { ...fields, name, props }),
  page: (props) => view(props),
  identify,
  set,
  consent: setConsent,
  use: (fn) => fn(core),
  off(undo) {
    stored(() => (localStorage.footfall_off = undo === false ? "" : 1));
    setConsent("no");
  },
};

// An extension is fetched by the running script, so that a page's nonce holds for
// it and no policy for Trusted Types is needed.
const load = (name) =>
  import(/* webpackIgnore: true */ new URL(EXTENSIONS.replace("*", name), source)).catch(warn);

// start makes window.footfall and begins to count once the page is seen: a prerendered
// page or a tab that is never opened is no visit. Calls until then are kept.
export function start(options, src) {
  const stub = window.footfall || {};
  if (stub.version) return;
  configure(options, src);
  const silent = isSilent();
  let kept = [];
  const call = guard((name, args) => {
    if (kept) kept.push([name, args]);
    else if (!silent || name === "off") methods[name](...args);
  });
  const api = (window.footfall = (...args) => call("event", args));
  for (const name in methods) api[name] = (...args) => call(name, args);
  api.version = VERSION;

  const begin = () => {
    if (!kept || (!UNSEEN && (document.hidden || document.prerendering))) return;
    const calls = kept;
    kept = 0;
    if (!silent) {
      Object.assign(core, { record, add, data, endpoint });
      openSender(EXTENSIONS && data.ext ? data.ext.split(",").map(load) : []);
      if (CLICKS) openClicks();
      if (FORMS) openForms();
      openPages();
    }
    calls.map((args) => call(...args));
  };
  for (const args of stub.q || []) call(args.m || "event", args);
  on({ visibilitychange: begin, prerenderingchange: begin });
  begin();
}
