import assert from "node:assert/strict";
import { test } from "node:test";
import { browser, load } from "./browser.mjs";

const MINUTE = 60e3;

// opened is a page with the extension, one second after its pageview was sent, which is one after
// it was made. pass lets so much time go by, on all clocks; deferred are the calls of fetchLater, armed what the browser would send if the
// page were killed now.
async function opened(t, { data, refuse, before, ...page } = {}) {
  const tag = { ext: "later", ...data };
  const seen = browser(t, { ...page, tag });
  let now = 1000;
  const began = Date.now();
  t.mock.method(performance, "now", () => now);
  t.mock.method(Date, "now", () => began + now);
  const deferred = [];
  const defer = (url, { signal, ...options }) => {
    if (refuse) throw new DOMException("no room", refuse);
    const { events, ...envelope } = JSON.parse(options.body);
    deferred.push({ url: String(url), signal, options, envelope, event: events[0], activated: false });
    return deferred.at(-1);
  };
  Object.defineProperty(globalThis, "fetchLater", {
    value: "fetchLater" in page ? page.fetchLater : defer, configurable: true, writable: true });
  await load();
  footfall.use((core) => Object.assign(seen, { core }));
  if (before) seen.core.before.push(before);
  await import(`../src/ext/later.js?${Math.random()}`);
  seen.pass = async (ms) => {
    now += ms;
    await seen.tick(ms);
  };
  seen.deferred = deferred;
  seen.armed = () => deferred.filter(({ signal, activated }) => !signal.aborted && !activated);
  seen.leaves = () => seen.events().filter(({ type }) => type === "leave");
  seen.hide = async (hidden = true) => {
    document.hidden = hidden;
    document.hasFocus = () => !hidden;
    seen.fire("visibilitychange");
    await seen.tick();
  };
  await seen.pass(1000);
  await seen.pass(1000);
  return seen;
}

test("a page that is looked at has one leave armed, with the time so far", async (t) => {
  const seen = await opened(t);
  assert.equal(seen.armed().length, 1);
  const [{ url, options, envelope, event }] = seen.armed();
  assert.equal(url, "https://collector.example/e");
  assert.deepEqual({ ...options, body: "" }, { method: "POST", body: "", credentials: "omit" });
  assert.equal(envelope.site, "shop");
  assert.equal(event.type, "leave");
  assert.equal(event.pageview_id, seen.events()[0].pageview_id);
  assert.equal(event.engaged_ms, 2000);
  await seen.pass(5000);
  await seen.pass(5000);
  assert.deepEqual(seen.armed().map(({ event }) => event.engaged_ms), [12000]);
  assert.equal(seen.leaves().length, 0);
});

test("every draft and the leave have ids of their own", async (t) => {
  const seen = await opened(t);
  await seen.pass(5000);
  await seen.hide();
  const ids = [...seen.deferred.map(({ event }) => event), ...seen.events()].map((e) => e.event_id);
  assert.equal(ids.length, 4);
  assert.equal(new Set(ids).size, 4);
});

test("the real leave has all the time, and disarms", async (t) => {
  const seen = await opened(t);
  await seen.pass(5000);
  await seen.pass(400);
  await seen.hide();
  assert.deepEqual(seen.leaves().map((event) => event.engaged_ms), [7400]);
  assert.deepEqual(seen.armed(), []);
  const { leave } = seen.core;
  let asked = 0;
  seen.core.leave = () => asked++;
  await seen.pass(MINUTE);
  assert.equal(asked, 0, "nobody asks for a draft while it is hidden");
  seen.core.leave = leave;
  await seen.hide(false);
  await seen.pass(900);
  document.hasFocus = () => false;
  seen.fire("blur");
  await seen.pass(5000);
  assert.deepEqual(seen.armed(), [], "less than a second is no leave, so no draft");
  document.hasFocus = () => true;
  seen.fire("focus");
  await seen.pass(5000);
  assert.deepEqual(seen.armed().map(({ event }) => event.engaged_ms), [5900]);
  await seen.hide();
  assert.deepEqual(seen.leaves().map((event) => event.engaged_ms), [7400, 5900]);
});

test("a draft that was sent although the page lives is not counted again", async (t) => {
  const seen = await opened(t);
  await seen.pass(5000);
  seen.deferred[1].activated = true; // 7000 ms
  await seen.pass(5000);
  assert.deepEqual(seen.armed().map(({ event }) => event.engaged_ms), [5000]);
  seen.deferred[2].activated = true;
  await seen.pass(2000);
  await seen.hide();
  assert.deepEqual(seen.leaves().map((event) => event.engaged_ms), [2000]);
  await seen.hide(false);
  await seen.pass(3000);
  await seen.hide();
  assert.deepEqual(seen.leaves().map((event) => event.engaged_ms), [2000, 3000]);
});

test("a route: the leave of the one before disarms its draft, the new one gets its own", async (t) => {
  const seen = await opened(t);
  history.pushState({}, "", "/b");
  seen.fire("popstate");
  await seen.pass(0);
  assert.deepEqual(seen.leaves().map((event) => event.engaged_ms), [2000]);
  assert.deepEqual(seen.armed(), []);
  await seen.pass(1000);
  const views = seen.events().filter(({ type }) => type === "pageview");
  assert.deepEqual(seen.armed().map(({ event }) => [event.pageview_id, event.engaged_ms]), [[views[1].pageview_id, 1000]]);
});

test("a leave that waits for the collector leaves the draft of the next route alone", async (t) => {
  const seen = await opened(t, { answer: (n) => (n === 1 ? { status: 503, headers: { "Retry-After": "60" } } : { status: 204 }) });
  history.pushState({}, "", "/b");
  seen.fire("popstate");
  for (let i = 0; i < 8; i++) await seen.pass(1000);
  const [{ event }] = seen.armed();
  assert.match(event.url, /\/b$/);
  assert.equal(seen.leaves().length, 0);
  for (let i = 0; i < 90 && !seen.leaves().length; i++) await seen.pass(1000);
  assert.equal(seen.leaves().length, 1);
  assert.equal(seen.armed().length, 1);
});

test("a page that is not used keeps its draft, and renews it before the envelope is old", async (t) => {
  const seen = await opened(t, { document: { hasFocus: () => false } });
  for (let i = 0; i < 10; i++) await seen.pass(5000);
  assert.equal(seen.deferred.length, 1);
  for (let i = 0; i < 60; i++) await seen.pass(5000);
  assert.equal(seen.deferred.length, 2);
  const [{ envelope, event }] = seen.armed();
  const made = parseInt(event.event_id.slice(0, 12), 16);
  assert.ok(Math.abs(envelope.sent_at - made) < 1000, `sent at ${envelope.sent_at}, made ${made}`);
});

test("nothing is armed before consent, and what is armed goes with it", async (t) => {
  const seen = await opened(t, { data: { consent: "wait" } });
  await seen.pass(5000);
  assert.deepEqual(seen.deferred, []);
  footfall.consent("yes");
  await seen.pass(0);
  await seen.pass(1000);
  assert.deepEqual(seen.armed().map(({ event, envelope }) => [event.engaged_ms, envelope.consent]), [[8000, "yes"]]);
  footfall.consent("wait");
  assert.deepEqual(seen.armed(), []);
  await seen.pass(5000);
  footfall.consent("yes");
  await seen.pass(5000);
  assert.equal(seen.armed().length, 1);
  footfall.consent("no");
  assert.deepEqual(seen.armed(), []);
  await seen.pass(MINUTE);
  assert.deepEqual(seen.armed(), []);
});

test("off() disarms", async (t) => {
  const seen = await opened(t, { localStorage: {} });
  assert.equal(seen.armed().length, 1);
  footfall.off();
  await seen.pass(MINUTE);
  assert.deepEqual(seen.armed(), []);
});

test("consent is told to the outbox too, whichever was first", async (t) => {
  for (const names of [["outbox", "later"], ["later", "outbox"]]) {
    const stored = { "footfall shop 1": "{}" };
    const methods = { getItem: (key) => stored[key], removeItem: (key) => delete stored[key] };
    Object.setPrototypeOf(stored, methods);
    const seen = await opened(t, { localStorage: stored, refuse: "QuotaExceededError" });
    const told = [];
    globalThis.fetchLater = (url, { signal }) => (told.push(signal), { activated: false });
    for (const name of names) await import(`../src/ext/${name}.js?${Math.random()}`);
    await seen.pass(5000);
    stored["footfall shop 1"] = "{}";
    footfall.consent("no");
    assert.ok(told.length > 0 && told.every(({ aborted }) => aborted), `${names}`);
    assert.deepEqual(Object.keys(stored), []);
    t.mock.timers.reset();
    t.mock.restoreAll();
  }
});

test("the hooks of others see a draft as they see a leave, and are told", async (t) => {
  let met = [];
  let refuse = false;
  const before = (event, drafted) => {
    met.push([event.type, drafted]);
    event.props.seen = met.length;
    return !refuse;
  };
  const seen = await opened(t, { before });
  met = [];
  await seen.pass(5000);
  assert.deepEqual(met, [["leave", true]]);
  assert.deepEqual(seen.armed().map(({ event }) => event.props), [{ seen: 1 }]);
  refuse = true;
  await seen.pass(5000);
  assert.deepEqual(seen.armed(), [], "what is not to be sent is not armed");
  refuse = false;
  await seen.pass(5000);
  refuse = true;
  await seen.hide();
  assert.deepEqual(met.at(-1), ["leave", undefined]);
  assert.deepEqual([seen.leaves(), seen.armed()], [[], []], "nor is it when the real one is kept back");
});

test("a hook that throws arms nothing", async (t) => {
  const seen = await opened(t);
  footfall.use(({ before }) => before.push(() => { throw new Error("of the page's"); }));
  await seen.pass(5000);
  assert.deepEqual(seen.armed(), []);
});

test("a draft is nothing for the outbox to keep", async (t) => {
  const stored = {};
  const methods = { getItem: (key) => stored[key], setItem: (key, text) => (stored[key] = text), removeItem: (key) => delete stored[key] };
  Object.setPrototypeOf(stored, methods);
  const seen = await opened(t, { localStorage: stored, answer: () => ({ status: 503 }) });
  await import(`../src/ext/outbox.js?${Math.random()}`);
  footfall("early");
  await seen.pass(5000);
  assert.equal(seen.armed().length, 1);
  footfall("last");
  seen.fire("pagehide");
  const kept = Object.values(stored).map((text) => JSON.parse(text));
  assert.deepEqual(kept.map(({ type, name = type }) => name).sort(), ["early", "last", "leave", "pageview"]);
  const drafts = seen.deferred.map(({ event }) => event.event_id);
  assert.deepEqual(kept.filter((event) => drafts.includes(event.event_id)), []);
});

test("a page of the back/forward cache: its leave disarms, the new pageview has its own drafts", async (t) => {
  const seen = await opened(t);
  seen.fire("pagehide");
  await seen.pass(0);
  assert.deepEqual(seen.armed(), []);
  seen.fire("pageshow", { persisted: true });
  await seen.pass(0);
  await seen.pass(1000);
  const views = seen.events().filter(({ type }) => type === "pageview");
  assert.equal(views.length, 2);
  assert.deepEqual(seen.armed().map(({ event }) => event.pageview_id), [views[1].pageview_id]);
});

test("no fetchLater, an element of that name, or one that may not: the leaves are as without it", async (t) => {
  let drafts = 0;
  const before = (event, drafted) => { drafts += drafted ? 1 : 0; };
  const refusals = ["QuotaExceededError", "NotAllowedError", "SecurityError"].map((refuse) => ({ refuse }));
  for (const options of [{ fetchLater: undefined, before }, { fetchLater: { id: "fetchLater" } }, ...refusals]) {
    const seen = await opened(t, options);
    await seen.pass(5000);
    await seen.hide();
    assert.deepEqual(seen.leaves().map((event) => event.engaged_ms), [7000]);
    assert.deepEqual([seen.deferred, seen.warnings, drafts], [[], [], 0]);
    t.mock.timers.reset();
    t.mock.restoreAll();
  }
});

test("who is not counted has nothing armed", async (t) => {
  const seen = await opened(t, { navigator: { globalPrivacyControl: true } });
  await seen.pass(5000);
  assert.deepEqual(seen.deferred, []);
});
