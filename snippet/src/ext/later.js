// A page that is killed while it is seen (its renderer crashes, the system needs the memory)
// never hears of its end: its leave would be lost. Chromium sends what fetchLater has been
// given even then. So a leave is drafted every few seconds and armed in place of the draft
// before; the real leave disarms it. A draft holds all the engaged time since the last real
// leave, so at most one of them counts. Each has an id of its own: no id has two bodies.
//
// Where there is no fetchLater, or the page may not use it, nothing is different.
import { onConsent } from "../consent.js";
import { guard, on } from "../guard.js";

const FIRST = 1000; // ms after a pageview
const STEP = 5000; // ms between drafts, and what a killed page loses at most
const FRESH = 3e5; // ms; the collector takes an envelope of the last ten minutes at its word

guard(() =>
  footfall.use((core) => {
    if (!window.fetchLater) return;
    let armed, timer;

    // What was sent of a pageview although it lives on, in ms since its last real leave.
    const sent = {};

    function disarm() {
      if (!armed) return;
      if (armed.result.activated) sent[armed.id] = armed.spent;
      armed.controller.abort();
      armed = 0;
    }

    const allowed = () => !core.consent || core.consent === "yes";

    // The hooks of the others see a draft as they see what is sent, but for the second argument.
    function arm(event) {
      const { engaged_ms: spent, pageview_id: id } = event;
      const at = Date.now();
      if (armed && armed.id === id && armed.spent === spent && at - armed.at < FRESH) return;
      disarm();
      if (!core.before.every((hook) => hook(event, true) !== false)) return;
      const controller = new AbortController();
      const result = fetchLater(core.endpoint, {
        method: "POST",
        body: core.body([{ sealed: event }]),
        credentials: "omit",
        signal: controller.signal,
      });
      armed = { id, spent, at, result, controller };
    }

    const plan = (delay) => {
      clearTimeout(timer);
      timer = setTimeout(draft, delay);
    };
    const draft = guard(() => {
      if (document.hidden) return;
      plan(STEP);
      if (allowed()) core.leave(arm);
    });

    // First of all hooks: another may keep a real leave back.
    core.before.unshift((event, drafted) => {
      const { type, pageview_id: id } = event;
      if (type === "pageview") plan(FIRST);
      if (type !== "leave") return;
      if (armed && armed.id === id) disarm();
      event.engaged_ms -= sent[id] || 0;
      if (!drafted) delete sent[id];
    });
    onConsent(core, () => allowed() || disarm());
    on({ visibilitychange: () => plan(FIRST) });
    plan(FIRST);
  }),
)();
