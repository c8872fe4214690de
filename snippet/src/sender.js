// The way of an event to the collector. Recorded events wait in the queue, as objects
// until they are first sent, with their JSON from then on: what has left the page never
// changes, so that an id stands for one body on whichever way it arrives.
//
// The ways: fetch, because content blockers drop beacons while the beacon says true;
// the pixel when fetch is rejected (a policy, a blocker, no network); the beacon at
// exit where it is the surer way. What no way brings is held and tried again.
import { encode } from "./batch.js";
import { data, endpoint } from "./rules.js";
import { stored, guard, warn } from "./guard.js";
import { uuid } from "./uuid.js";
import { BATCH, CAP, HELD, KEEPALIVE_CAP, PIXEL_CAP, ROUNDS } from "./limits.js";

// core is what extensions are given: the hooks that may change an event or return false, and
// consent as it stands. What could not be sent and is tried again is told by setting held.
export const core = { before: [] };

let queue = [];
let rounds = 0;
let timer, blocked;

// body is what holds for each event, as late as it can be read, and the batch. Which way it
// comes the collector sees by itself.
export const body = (batch) =>
  encode({
    site: data.site,
    session_id: data.session && stored(() => (sessionStorage.footfall ||= uuid())),
    events: batch.map((event) => event.sealed),
    screen_w: screen.width,
    screen_h: screen.height,
    viewport_h: innerHeight,
    viewport_w: innerWidth,
    snippet_version: VERSION,
    consent: core.consent,
    sent_at: Date.now(),
    webdriver: navigator.webdriver,
  });

// plan puts the next flush off by so many milliseconds; what is no number is none. It tries
// fetch again.
export const plan = (delay) => {
  clearTimeout(timer);
  timer = setTimeout(() => flush((timer = blocked = 0)), delay);
};

export const add = (event) => {
  if (core.consent != "no") {
    queue.push(event);
    timer || plan();
  }
};

// settle tells who asked: true when the collector has it, false when it never will, nothing
// when nobody can know.
const settle = (batch, taken) => batch.map((event) => stored(() => event.callback(taken)));

export const setConsent = (state) => {
  core.consent = state;
  if (state == "no") {
    settle(queue, false);
    queue = [];
    stored(() => delete sessionStorage.footfall);
  }
  plan();
};

// seal makes what is sent of an event, a copy that nobody else has, and tells whether it is to
// be sent. Routers set the title after the URL, so it is read now.
const seal = /* @__PURE__ */ guard((event) => {
  if (event.type == "pageview") event.title ||= document.title;
  return (event.sealed ||=
    core.before.every((hook) => hook(event) !== false) && JSON.parse(encode(event)));
});

// flush sends what waits, one request after the other: that of an exit, which does not wait, then
// finds room among the 64 KiB of those that outlive a page. No answer is relied upon: engines
// leave some out when a page is put away, or a link was a download; the next event, or the exit,
// makes the next flush. Where the last fetch was rejected all goes by pixel, until the next plan.
export const flush = async (exit) => {
  if (core.consent == "wait" || !(queue = queue.filter(seal))[0]) return;
  let count = BATCH;
  let status = 500;
  let text, response, turn;
  // One event above the cap goes alone: the collector answers it with a reason.
  while ((text = body(queue.slice(0, count))).length > (blocked ? PIXEL_CAP : CAP) && (count >>= 1));
  const batch = queue.splice(0, count || 1);
  if (exit) flush(exit);
  try {
    status = blocked
      ? // Not by decode(): that waits for a frame, which a hidden tab may never draw.
        // A load's event is no status above 399.
        await new Promise((onload, onerror) =>
          Object.assign(new Image(), {
            src: new URL(PIXEL + "?json=" + encodeURIComponent(text), endpoint),
            onerror,
            onload,
          }),
        )
      : // WebKit loses keepalive requests of a page that goes away; and no blocker takes a
        // beacon to the page's own host for a ping to strangers.
        (data.transport == "beacon" ||
            (exit && (navigator.vendor[0] == "A" || endpoint.host == location.host))) &&
          navigator.sendBeacon(endpoint, text)
        ? // A collector that asked us to wait may refuse this too, and without a network the
          // beacon says yes to nobody. The page can come back, so the events stay; their ids
          // make a repeat harmless.
          exit && (rounds || !navigator.onLine) && status
        : // A string body is text/plain and no header is ours: no preflight.
          (response = await fetch(endpoint, {
            keepalive: text.length < KEEPALIVE_CAP,
            credentials: "omit",
            body: text,
            method: "post",
          })).status;
    if (WARN && status > 399) warn(response?.headers.get("X-Footfall-Reason") || status);
  } catch {
    // What rejects fetch swallows the beacon too, without a word; or there is no beacon.
    turn = !blocked;
    blocked = 1;
  }
  // Too many requests, and what is above: the collector sends no other 4xx there.
  if (status > 428 && core.consent != "no" && (turn || exit || rounds++ < ROUNDS)) {
    core.held = batch;
    queue = [...batch, ...queue].slice(-HELD);
    if (turn) flush(exit);
    else plan((response?.headers.get("retry-after") * 1e3 || 500 << rounds) * (1 + Math.random() / 2));
  } else {
    rounds = 0;
    settle(batch, status > 428 ? undefined : !(status > 399));
    flush();
  }
};
