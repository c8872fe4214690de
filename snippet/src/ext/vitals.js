// Web vitals, in the properties of each leave: ttfb, fcp, lcp, inp in milliseconds, cls as
// a score. Those of the load (ttfb, fcp, lcp) are of the first pageview only; inp and cls
// are of the pageview that is left. A browser that does not measure one leaves it out.
import { guard } from "../guard.js";

const WINDOW = 5000; // ms of layout shifts that count together, at most
const GAP = 1000; // ms without a shift that end a window
const LONGEST = 10; // interactions that are remembered

guard(() =>
  footfall.use(({ before }) => {
    const observers = [];
    let seen = 0;
    let vitals, shifts, first, last, interactions, answered;

    function reset() {
      vitals = PerformanceObserver.supportedEntryTypes.includes("layout-shift") ? { cls: 0 } : {};
      shifts = first = last = 0;
      interactions = {};
      answered = performance.interactionCount || 0;
    }
    reset();

    function observe(type, each, options) {
      if (!PerformanceObserver.supportedEntryTypes.includes(type)) return;
      const read = (list) => list.map(guard(each));
      const observer = new PerformanceObserver((list) => read(list.getEntries()));
      observer.observe({ type, buffered: true, ...options });
      observers.push(() => read(observer.takeRecords()));
    }

    // Of a page that was prerendered, time begins when it was shown.
    let shown = 0;
    const since = (time) => Math.max(0, Math.round(time - shown));

    observe("navigation", ({ responseStart, activationStart }) => {
      shown = activationStart || 0;
      vitals.ttfb = since(responseStart);
    });
    observe("paint", ({ name, startTime }) => {
      if (name === "first-contentful-paint") vitals.fcp = since(startTime);
    });
    observe("largest-contentful-paint", ({ startTime }) => {
      vitals.lcp = since(startTime);
    });
    observe("layout-shift", ({ value, startTime, hadRecentInput }) => {
      if (hadRecentInput) return;
      if (startTime - last > GAP || startTime - first > WINDOW) {
        first = startTime;
        shifts = 0;
      }
      last = startTime;
      shifts += value;
      vitals.cls = Math.max(vitals.cls || 0, shifts);
    });
    // An interaction is as slow as its slowest event.
    function interaction({ interactionId, duration }) {
      if (!interactionId) return;
      interactions[interactionId] = Math.max(interactions[interactionId] || 0, duration);
      const longest = Object.entries(interactions).sort(([, a], [, b]) => b - a);
      interactions = Object.fromEntries(longest.slice(0, LONGEST));
      // The slowest of all, but for one of each fifty.
      const skip = Math.floor(((performance.interactionCount || answered) - answered) / 50);
      vitals.inp = longest[Math.min(skip, longest.length - 1, LONGEST - 1)][1];
    }
    observe("event", interaction, { durationThreshold: 40 });
    observe("first-input", interaction);

    before.push((event) => {
      if (event.type === "pageview" && seen++) reset();
      if (event.type !== "leave") return;
      observers.map((take) => take());
      event.props = { ...event.props, ...vitals };
      if (vitals.cls) event.props.cls = Math.round(vitals.cls * 1e4) / 1e4;
    });
  }),
)();
