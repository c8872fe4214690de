// Web vitals, in the properties of each leave: ttfb, fcp, lcp and inp in milliseconds, cls as
// a score. A browser that does not measure one leaves it out.
//
//	ttfb            of the first pageview
//	fcp, lcp        of the load; of a page out of the back/forward cache, from its return to
//	                the second frame; of a route where the browser knows soft navigations,
//	                from the interaction that led to it; of other routes none
//	inp, cls        of each pageview. An interaction that changes the page is of the next one
//
// What is measured counts for the pageview in which it ended, even when the events are
// sent later, after consent or Retry-After: an event's id says when it was recorded.

const WINDOW = 5000; // ms of layout shifts that count together, at most
const GAP = 1000; // ms without a shift that end a window
const CONSIDERED = 9; // interactions that may be passed over: the slowest ones of a long visit
const PENDING = 1000; // entries that wait for the end of their pageview
const SHORT = 8; // ms of interactions that were too quick to be told

footfall.use(({ before }) => {
  const observers = [];
  let pending = [];
  let views = 0;
  let load = 1;
  let vitals, shifts, first, last, interactions, answered, ended, soft, paints;

  const types = PerformanceObserver.supportedEntryTypes;
  const count = () => performance.interactionCount | 0;
  const [{ responseStart, activationStart: shown = 0 }] = performance.getEntriesByType("navigation");

  function reset() {
    vitals = types.includes("layout-shift") ? { cls: 0 } : {};
    last = soft = NaN;
    interactions = {};
    paints = {};
    answered = count();
    ended = Infinity;
  }
  reset();
  performance.getEntriesByType("visibility-state").map(({ name, startTime }) => {
    if (name === "hidden" && startTime >= shown && startTime < ended) ended = startTime;
  });

  // until counts what has ended by then, and leaves the rest.
  const until = (end) => {
    pending = pending.filter(([time, apply]) => time > end || apply());
  };

  const add = (time, apply) => {
    pending.push([time, apply]);
    if (pending[PENDING]) until(pending[0][0]);
  };

  function observe(type, each, options) {
    if (!types.includes(type)) return;
    const read = (list) =>
      list.map((entry) => add(entry.startTime + entry.duration, () => each(entry)));
    const observer = new PerformanceObserver((list) => read(list.getEntries()));
    observer.observe({ type, buffered: true, ...options });
    observers.push(() => read(observer.takeRecords()));
  }

  // A paint that came after the page was hidden, or left, says nothing of the load.
  const paint = (metric) => ({ name, startTime }) => {
    if (load && name !== "first-paint" && startTime < ended) {
      vitals[metric] = Math.max(0, startTime - shown);
    }
  };
  observe("paint", paint("fcp"));
  observe("largest-contentful-paint", paint("lcp"));

  // Both begin with the interaction and end with a frame.
  observe("soft-navigation", ({ interactionId, duration }) => {
    soft = interactionId;
    vitals.fcp = duration;
  });
  observe("interaction-contentful-paint", ({ interactionId, startTime, duration }) => {
    if (startTime + duration < ended) paints[interactionId] = duration;
  });

  observe("layout-shift", ({ value, startTime, hadRecentInput }) => {
    if (hadRecentInput) return;
    if (startTime - last < GAP && startTime - first < WINDOW) shifts += value;
    else {
      first = startTime;
      shifts = value;
    }
    last = startTime;
    if (shifts > vitals.cls) vitals.cls = shifts;
  });

  // An interaction is as slow as its slowest event.
  function interaction({ interactionId, duration }) {
    if (interactionId) interactions[interactionId] = Math.max(interactions[interactionId] | 0, duration);
  }
  observe("event", interaction, { durationThreshold: 40 });
  observe("first-input", interaction);

  if (BFCACHE) {
    addEventListener("pageshow", ({ persisted, timeStamp }) => {
      const returned = (time) =>
        add(time, () => {
          vitals.fcp = vitals.lcp = time - timeStamp;
        });
      if (persisted) requestAnimationFrame(() => requestAnimationFrame(returned));
    });
  }

  before.push((event, drafted) => {
    // The first twelve digits of an id are Unix milliseconds.
    const time = parseInt(event.event_id.replace("-", "").slice(0, 12), 16) - Date.now() + performance.now();
    if (event.type === "pageview" && views++) {
      until(time);
      if (vitals.fcp) load = 0;
      reset();
    }
    if (event.type !== "leave") return;
    observers.map((take) => take());
    until(time);
    if (!drafted && time < ended) ended = time;
    if (views < 2 && responseStart) vitals.ttfb = Math.max(0, responseStart - shown);
    // The slowest of all, but for one of each fifty.
    const happened = count() - answered;
    const slow = Object.values(interactions).sort((a, b) => b - a);
    vitals.inp =
      slow[Math.min(happened / 50, slow.length - 1, CONSIDERED) | 0] || (happened ? SHORT : NaN);
    vitals.lcp = paints[soft] || vitals.lcp;
    for (const name in vitals) {
      if (vitals[name] >= 0) event.props[name] = +vitals[name].toFixed(name === "cls" && 4);
    }
  });
});
