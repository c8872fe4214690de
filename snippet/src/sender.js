// The way of an event to the collector. Recorded events wait in the queue, as objects
// until they are first sent, as JSON from then on: what has left the page never
// changes, so that an id stands for one body on whichever way it arrives.
//
// The ways: fetch, because content blockers drop beacons while the beacon says true;
// the pixel when fetch is rejected (a policy, a blocker, no network); the beacon at
// exit where it is the surer way. What no way brings is held and tried again.
import { encode, size, split } from "./batch.js";
import { guard, on, stored, warn } from "./guard.js";
import { CAP, HELD, IDLE, ROUNDS } from "./limits.js";
import { data, endpoint } from "./rules.js";
import { uuid } from "./uuid.js";

// core is what extensions are given: with consent as it stands, and held, the events that
// are tried again, the oldest first.
export const core = { before: [], held: [] };

let queue = [];
let inflight = 0;
let rounds = 0;
let timer, waiting, blocked, timezone;

// A batch is a list of JSON texts, which joins itself.
export const body = (batch, transport = "fetch") =>
  encode({
    site: data.site,
    sent_at: Date.now(),
    transport,
    snippet_version: VERSION,
    consent: core.consent,
    webdriver: navigator.webdriver,
    timezone,
    screen_w: screen.width,
    screen_h: screen.height,
    viewport_w: innerWidth,
    viewport_h: innerHeight,
  }).replace("}", `,"events":[${batch}]}`);

function plan(delay) {
  clearTimeout(timer);
  timer = setTimeout(() => {
    timer = waiting = 0;
    flush();
  }, delay);
}

export function add(event) {
  queue.push(event);
  timer || plan(0);
}

export function setConsent(state) {
  core.consent = state;
  if (state === "no") {
    settle([...core.held, ...queue], false);
    core.held = [];
    queue = [];
    stored(() => delete sessionStorage.footfall);
  }
  timer || plan(0);
}

// seal makes the text of an event, with what is read as late as possible: routers set
// the title after the URL, and a session needs consent.
export const seal = guard((event) => {
  const { type, callback } = event;
  if (!type) return event;
  if (type === "pageview") event.title ||= document.title;
  if (data.session) event.session_id = stored(() => (sessionStorage.footfall ||= uuid()));
  if (core.before.every((hook) => hook(event) !== false)) {
    return Object.assign(new String(encode(event)), { callback });
  }
});

function settle(batch, done) {
  rounds = 0;
  batch.map(({ callback }) => callback && guard(callback)(done));
}

export function flush(exit) {
  if (core.consent === "wait" || (waiting && !exit)) return;
  // A collector that asked us to wait may refuse the last attempt too, and without a
  // network the beacon says yes to nobody. The page can come back, so the events stay;
  // their ids make a repeat harmless.
  const batch = [...core.held, ...queue.map(seal).filter(Boolean)];
  queue = [];
  core.held = waiting || (exit && !navigator.onLine) ? batch : [];
  if (batch[0]) split(batch, body).map((part) => send(part, exit));
}

async function send(batch, exit) {
  // What rejects fetch swallows the beacon too, without a word.
  if (exit && blocked) return batch.map((text) => pixels([text]));
  const text = body(batch);
  const bytes = size(text);
  inflight += bytes;
  try {
    // WebKit loses keepalive requests of a page that goes away; and no blocker takes a
    // beacon to the page's own host for a ping to strangers.
    if (
      (data.transport === "beacon" ||
        (exit && (/^Apple/.test(navigator.vendor) || endpoint.host === location.host))) &&
      navigator.sendBeacon(endpoint, body(batch, "beacon"))
    ) {
      return settle(batch, true);
    }
    // A string body is text/plain and no header is ours: no preflight.
    const { status, headers } = await fetch(endpoint, {
      method: "POST",
      body: text,
      keepalive: inflight <= CAP,
      credentials: "omit",
    });
    blocked = 0;
    if (status === 429 || status > 499) return hold(batch, headers.get("Retry-After"));
    if (status > 399) warn(headers.get("X-Footfall-Reason") || status);
    settle(batch, status < 400);
  } catch (rejected) {
    // Also where the browser has no beacon.
    blocked = 1;
    pixels(batch);
  } finally {
    inflight -= bytes;
  }
}

// One by one: while the first does not get through, the others need not try.
function pixels([event, ...rest]) {
  if (!event) return;
  const image = new Image();
  image.onerror = () => hold([event, ...rest]);
  image.onload = () => {
    settle([event], true);
    pixels(rest);
  };
  image.src = new URL(PIXEL + "?json=" + encodeURIComponent(body([event], "pixel")), endpoint);
}

// Whether the collector has what is given up here, nobody knows.
function hold(batch, seconds) {
  if (core.consent === "no" || (!waiting && ++rounds > ROUNDS)) return settle(batch);
  // The failures of one round come one by one; the first makes the next round.
  if (!waiting) {
    plan(Math.max(seconds * 1e3 || 0, 500 << rounds) * (1 + Math.random() / 2));
    waiting = 1;
  }
  core.held = [...new Set([...core.held, ...batch])].slice(-HELD);
}

// The first batch waits for a frame, because sizes that are asked for earlier cost a
// layout, and for the extensions, which may have a say in it: a second at most.
export function openSender(extensions) {
  core.consent = data.consent;
  plan(1000);
  requestAnimationFrame(() => Promise.all(extensions).then(() => waiting || plan(0)));
  on({ online: () => plan(0) });
  // The zone's first call costs up to 70 ms on a slow phone: not before the first
  // send, and only when nothing else is to be done.
  setTimeout(() => {
    timezone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  }, IDLE);
}
