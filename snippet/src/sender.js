import { size, split } from "./batch.js";
import { warn } from "./guard.js";
import { CAP, HELD, LONGEST_WAIT, ROUNDS } from "./limits.js";

// createSender gathers the events of one task into a batch and brings it to the
// collector: by fetch, because content blockers drop beacons while the beacon
// says true; by the pixel when fetch is rejected (a policy, a blocker, no
// network); by the beacon only at exit. What no way brings is held in memory and
// tried again, with the same event_id. envelope(transport) gives the fields that
// all events share.
export function createSender(endpoint, envelope) {
  let events = [];
  let inflight = 0;
  let rounds = 0;
  let timer, waiting, blocked;

  const encode = (batch, transport = "fetch") =>
    JSON.stringify({ ...envelope(transport), events: batch });

  function plan(delay) {
    timer = setTimeout(() => {
      timer = waiting = 0;
      flush();
    }, delay);
  }

  function add(event) {
    events.push(event);
    if (!timer) plan(0);
  }

  function flush(exit) {
    if (waiting && !exit) return;
    const batch = events;
    // A collector that asked us to wait may refuse the last attempt too. The
    // page can come back, so the events stay; their ids make a repeat harmless.
    if (!waiting) events = [];
    for (const event of batch) {
      // Routers set the title after the URL: it is read as late as possible.
      if (event.type === "pageview") event.title = event.title || document.title;
    }
    if (batch[0]) for (const part of split(batch, encode)) send(part, exit);
  }

  async function send(batch, exit) {
    // What rejects fetch swallows the beacon too, without a word.
    if (exit && blocked) return batch.map((event) => pixels([event]));
    const body = encode(batch);
    const bytes = size(body);
    let response;
    inflight += bytes;
    try {
      if (exit && navigator.sendBeacon(endpoint, encode(batch, "beacon"))) return;
      // A string body is text/plain and no header is ours: no preflight.
      response = await fetch(endpoint, {
        method: "POST",
        body,
        keepalive: inflight <= CAP,
        credentials: "omit",
        priority: "low",
      });
    } catch (rejected) {
      // Also where the browser has no beacon. The pixel is next.
    } finally {
      inflight -= bytes;
    }
    blocked = !response;
    if (blocked) return pixels(batch);
    const { status, headers } = response;
    if (status === 429 || status > 499) return hold(batch, headers.get("Retry-After"));
    rounds = 0;
    if (status > 399) warn(headers.get("X-Footfall-Reason") || status);
  }

  // One by one: while the first does not get through, the others need not try.
  function pixels([event, ...rest]) {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries({ ...envelope("pixel"), ...event })) {
      if (value != null) query.set(name, name === "props" ? JSON.stringify(value) : value);
    }
    const image = new Image();
    image.onerror = () => hold([event, ...rest]);
    image.onload = () => {
      rounds = 0;
      if (rest[0]) pixels(rest);
    };
    image.src = new URL("p.gif?" + query, endpoint);
  }

  function hold(batch, seconds) {
    // The failures of one round come one by one; the first makes the next round.
    if (!waiting) {
      if (++rounds > ROUNDS) return warn("events dropped");
      const least = Math.max(seconds * 1e3 || 0, 500 << rounds);
      clearTimeout(timer);
      plan(Math.min(LONGEST_WAIT, least * (1 + Math.random() / 2)));
      waiting = 1;
    }
    events = [...new Set([...batch, ...events])].slice(-HELD);
  }

  return { add, flush };
}
