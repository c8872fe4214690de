import assert from "node:assert/strict";
import { test } from "node:test";
import { uuid } from "../src/uuid.js";
import { opened as page } from "./browser.mjs";

const HOUR = 36e5;

// disk is a localStorage: what is stored are its own enumerable keys, as in a browser.
function disk({ room = Infinity } = {}) {
  const calls = [];
  const set = (target, key, value) => {
    calls.push(["set", key]);
    const others = Object.entries(target).filter(([name]) => name !== key);
    const used = others.reduce((sum, [name, text]) => sum + name.length + text.length, 0);
    if (used + key.length + `${value}`.length > room) throw new Error("QuotaExceededError");
    target[key] = `${value}`;
    return true;
  };
  const methods = (target) => ({
    getItem: (key) => (calls.push(["get", key]), target[key] ?? null),
    setItem: (key, value) => set(target, key, value),
    removeItem: (key) => delete target[key],
  });
  const stored = new Proxy({}, { get: (target, name) => methods(target)[name] ?? target[name], set });
  return { stored, calls, entries: () => Object.keys(stored).filter((key) => key.startsWith("footfall ")) };
}

// opened is a page with the outbox; what the disk has is what pages before it left.
async function opened(t, { on = disk(), data, ...more } = {}) {
  const seen = await page(t, { localStorage: on.stored, data: { ext: "outbox", ...data }, ...more });
  await import(`../src/ext/outbox.js?${Math.random()}`);
  const made = [];
  const record = (event) => {
    made.push(uuid());
    seen.add({ event_id: made.at(-1), type: "custom", ...event });
  };
  await seen.tick(1000);
  return Object.assign(seen, { on, record, made });
}

const away = () => Promise.reject(new TypeError("no network"));
const sent = (seen) => seen.events().map((event) => event.event_id);
const fail = async (seen) => {
  for (const { image } of seen.pixels.splice(0)) image.onerror();
  await seen.tick();
};
const idAt = (time, tail = "0") => {
  const hex = time.toString(16).padStart(12, "0");
  return `${hex}70008000${tail.padStart(12, "0")}`;
};
const leave = (on, id, more) => {
  on.stored[`footfall shop ${id}`] = JSON.stringify({ event_id: id, type: "custom", ...more });
};

test("what arrives at the first try is never on the disk", async (t) => {
  const seen = await opened(t);
  seen.record();
  await seen.tick();
  seen.record();
  seen.exit();
  await seen.tick();
  assert.equal(seen.events().length, 2);
  assert.deepEqual(seen.on.calls.filter(([does]) => does === "set"), []);
});

test("what could not be sent is kept until it is, by the next page, with the same text", async (t) => {
  const on = disk();
  const first = await opened(t, { on, answer: away });
  first.record({ name: "a", props: { n: 1 } });
  await first.tick();
  await fail(first);
  assert.deepEqual(on.entries(), [`footfall shop ${first.made[0]}`]);
  const text = first.sent[0][1];

  t.mock.timers.reset();
  const next = await opened({ mock: { method() {}, timers: t.mock.timers } }, { on });
  assert.deepEqual(next.sent, [[first.made[0], text]]);
  assert.deepEqual(on.entries(), []);
});

test("what was sent before the outbox was there is kept when it fails again", async (t) => {
  const on = disk();
  const seen = await page(t, { localStorage: on.stored, data: { ext: "outbox" }, answer: away });
  const id = uuid();
  seen.add({ event_id: id, type: "custom" });
  seen.exit(); // a tab that is put away waits for no extension
  await seen.tick();
  await fail(seen);
  await import(`../src/ext/outbox.js?${Math.random()}`);
  assert.deepEqual(on.entries(), []);
  await seen.tick(2000);
  await fail(seen);
  assert.deepEqual(on.entries(), [`footfall shop ${id}`]);
});

test("what is left while the collector asks to wait, or without a network, is kept", async (t) => {
  for (const [answer, onLine] of [[() => ({ status: 503 }), true], [away, false]]) {
    t.mock.timers.reset();
    const seen = await opened(t, { answer, navigator: { onLine } });
    seen.record();
    if (onLine) await seen.tick();
    seen.record();
    seen.exit();
    assert.equal(seen.on.entries().length, 2);
    t.mock.restoreAll();
  }
});

test("a refusal is the end of it, giving up is not", async (t) => {
  const answers = [{ status: 503 }, { status: 400 }, ...Array(11).fill({ status: 503 })];
  const told = [];
  const seen = await opened(t, { answer: (n) => answers[n - 1] });
  seen.record({ callback: (taken) => told.push(taken) });
  await seen.tick();
  assert.equal(seen.on.entries().length, 1);
  await seen.tick(HOUR);
  assert.equal(seen.on.entries().length, 0);
  seen.record({ callback: (taken) => told.push(taken) });
  for (let i = 0; i < 12; i++) await seen.tick(HOUR);
  assert.deepEqual(told, [false, undefined]);
  assert.deepEqual(seen.on.entries(), [`footfall shop ${seen.made[1]}`]);
});

test("nothing is read or written before consent; no empties it", async (t) => {
  const on = disk();
  leave(on, idAt(Date.now() - HOUR));
  on.stored.mine = "the page's own";
  on.calls.length = 0;
  const seen = await opened(t, { on, answer: away, data: { consent: "wait" } });
  seen.record();
  seen.exit();
  await seen.tick();
  assert.deepEqual(on.calls, []);
  assert.equal(seen.fetches.length, 0);
  footfall.consent("no");
  assert.deepEqual(Object.keys(on.stored), ["mine"]);
});

test("consent that comes later takes up what is there", async (t) => {
  const on = disk();
  const old = idAt(Date.now() - HOUR);
  leave(on, old);
  const seen = await opened(t, { on, data: { consent: "wait" } });
  seen.record();
  footfall.consent("yes");
  await seen.tick();
  assert.deepEqual(sent(seen), [seen.made[0], old]);
  assert.deepEqual(on.entries(), []);
});

test("no after a failure empties it, and what fails later is not kept", async (t) => {
  let refuse;
  const hang = () => new Promise((resolve) => (refuse = () => resolve({ status: 503 })));
  const seen = await opened(t, { answer: (n) => (n === 1 ? { status: 503 } : hang()) });
  seen.record();
  await seen.tick();
  assert.equal(seen.on.entries().length, 1);
  await seen.tick(5000);
  footfall.consent("no");
  refuse();
  await seen.tick(HOUR);
  seen.exit();
  assert.deepEqual(seen.on.entries(), []);
});

test("the extension that comes after no empties it too", async (t) => {
  const on = disk();
  leave(on, idAt(Date.now() - HOUR));
  await opened(t, { on, data: { consent: "no" } });
  assert.deepEqual(on.entries(), []);
});

test("somebody who opted out in another tab leaves nothing here", async (t) => {
  const seen = await opened(t, { answer: () => ({ status: 503 }) });
  seen.on.stored.footfall_off = 1;
  seen.record();
  await seen.tick();
  assert.deepEqual(seen.on.entries(), []);
});

test("at most 500 events and a million characters are kept, the newest", async (t) => {
  for (const [size, most] of [[10, 500], [9000, 110]]) {
    t.mock.timers.reset();
    const seen = await opened(t, { answer: () => ({ status: 503 }) });
    for (let i = 0; i < 600; i++) seen.record({ name: "x".repeat(size) });
    await seen.tick();
    const kept = seen.on.entries();
    assert.ok(kept.length <= most && kept.length > most - 20, `${kept.length} of ${size} characters`);
    assert.deepEqual(kept.sort(), seen.made.slice(-kept.length).map((id) => `footfall shop ${id}`));
    const writes = seen.on.calls.length;
    await seen.tick(3000);
    const again = seen.on.calls.slice(writes).filter(([does]) => does === "set");
    assert.deepEqual(again, [], "the next round writes nothing again");
    t.mock.restoreAll();
  }
});

test("the events of many pages stay below the bounds together", async (t) => {
  const on = disk();
  for (let i = 0; i < 480; i++) leave(on, idAt(Date.now() - HOUR + i), { site: "shop" });
  const seen = await opened(t, { on, answer: () => ({ status: 503 }) });
  for (let i = 0; i < 40; i++) seen.record();
  seen.exit();
  assert.equal(on.entries().length, 500);
  const newest = on.entries().sort().slice(-40);
  assert.deepEqual(newest, seen.made.map((id) => `footfall shop ${id}`), "the oldest went");
});

test("an event that the collector would give another id is dropped", async (t) => {
  const on = disk();
  const good = idAt(Date.now() - 46 * HOUR);
  leave(on, idAt(Date.now() - 47.5 * HOUR));
  leave(on, good);
  leave(on, idAt(Date.now() + HOUR));
  const seen = await opened(t, { on });
  assert.deepEqual(sent(seen), [good]);
  assert.deepEqual(on.entries(), []);
});

test("an entry that somebody wrote over spoils nothing", async (t) => {
  const on = disk();
  const good = idAt(Date.now() - HOUR, "1");
  leave(on, good);
  on.stored[`footfall shop ${idAt(Date.now() - HOUR, "2")}`] = '{"event_id":';
  on.stored[`footfall shop ${idAt(Date.now() - HOUR, "3")}`] = "null";
  on.stored[`footfall shop ${idAt(Date.now() - HOUR, "4")}`] = JSON.stringify({ event_id: good });
  on.stored["footfall shop"] = "not ours";
  const seen = await opened(t, { on });
  seen.record();
  await seen.tick();
  assert.deepEqual(sent(seen), [good, ...seen.made]);
  assert.deepEqual(Object.keys(on.stored), ["footfall shop"]);
});

test("another site's entries are its own, until consent is withdrawn", async (t) => {
  const on = disk();
  on.stored[`footfall shop.de ${idAt(Date.now() - 99 * HOUR)}`] = "{}";
  const seen = await opened(t, { on });
  assert.deepEqual([seen.fetches.length, on.entries().length], [0, 1]);
  footfall.consent("no");
  assert.deepEqual(on.entries(), []);
});

test("many entries are taken up some at a time, and each once", async (t) => {
  const on = disk();
  const ids = Array.from({ length: 130 }, (_, i) => idAt(Date.now() - HOUR + i));
  ids.forEach((id) => leave(on, id));
  const seen = await opened(t, { on });
  for (let i = 0; i < 5; i++) await seen.tick(10);
  assert.deepEqual(sent(seen), ids);
  assert.deepEqual(seen.fetches.map(({ events }) => events.length), [50, 50, 30]);
  assert.deepEqual(on.entries(), []);
});

test("what another tab has sent meanwhile is not sent again", async (t) => {
  const on = disk();
  const ids = Array.from({ length: 60 }, (_, i) => idAt(Date.now() - HOUR + i));
  ids.forEach((id) => leave(on, id));
  let go;
  const seen = await opened(t, { on, answer: () => new Promise((resolve) => (go = () => resolve({ status: 204 }))) });
  for (const id of ids.slice(0, 55)) delete on.stored[`footfall shop ${id}`];
  go();
  await seen.tick(10);
  assert.deepEqual(sent(seen), [...ids.slice(0, 50), ...ids.slice(55)]);
});

test("a disk that is full, denied or not there costs no event", async (t) => {
  const denied = { stored: new Proxy({}, { get() { throw new Error("SecurityError"); }, ownKeys() { throw new Error("SecurityError"); } }) };
  for (const on of [disk({ room: 0 }), denied, { stored: undefined }]) {
    t.mock.timers.reset();
    const seen = await opened(t, { on, answer: (n) => ({ status: n === 1 ? 503 : 204 }) });
    seen.record();
    await seen.tick();
    await seen.tick(5000);
    assert.equal(seen.fetches.length, 2);
    footfall.consent("no");
    assert.deepEqual(seen.warnings, []);
    t.mock.restoreAll();
  }
});
