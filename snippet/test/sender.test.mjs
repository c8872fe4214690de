import assert from "node:assert/strict";
import { test } from "node:test";
import { opened } from "./browser.mjs";

const endpoint = "https://collector.example/in/e";
const event = (id, more) => ({ event_id: id, type: "custom", ...more });

const sender = (t, answer, options) => opened(t, { answer, ...options });

const reject = () => Promise.reject(new TypeError("blocked"));
const ids = (request) => request.events.map((e) => e.event_id);

test("the events of one task are one request without a preflight", async (t) => {
  const seen = await sender(t);
  seen.add(event("1"));
  seen.add(event("2"));
  await seen.tick();
  assert.equal(seen.fetches.length, 1);
  const [{ url, options }] = seen.fetches;
  assert.equal(url, endpoint);
  assert.equal(options.method, "post");
  assert.equal(options.credentials, "omit");
  assert.equal(options.keepalive, true);
  assert.equal(typeof options.body, "string");
  assert.equal(options.headers, undefined);
});

test("a pageview takes the title that stands when it is sent", async (t) => {
  const seen = await sender(t);
  seen.add({ event_id: "1", type: "pageview" });
  document.title = "After the router";
  await seen.tick();
  assert.equal(seen.events()[0].title, "After the router");
});

test("a rejected fetch becomes pixels of few events, one after the other", async (t) => {
  const seen = await sender(t, reject);
  seen.add(event("1", { props: { plan: "pro" } }));
  seen.add(event("2"));
  seen.add(event("3", { name: "x".repeat(3000) }));
  await seen.tick();
  assert.equal(seen.pixels.length, 1, "the second waits for the first");
  const { src, events } = seen.pixels[0];
  assert.ok(src.startsWith("https://collector.example/in/p.gif?json=%7B%22site%22%3A%22shop%22"));
  assert.deepEqual(events[0].props, { plan: "pro" });
  for (let i = 0; i < 3; i++) {
    seen.pixels.at(-1).image.onload();
    await seen.tick();
  }
  assert.deepEqual(seen.pixels.flatMap(ids), ["1", "2", "3"]);
  assert.ok(seen.pixels.length > 1);
  assert.equal(seen.fetches.length, 1, "fetch is not asked again");
});

test("a pixel that fails gives the next round to fetch again", async (t) => {
  const seen = await sender(t, (n) => (n === 1 ? reject() : { status: 204 }));
  seen.add(event("1"));
  await seen.tick();
  seen.pixels[0].image.onerror();
  await seen.tick();
  await seen.tick(5000);
  seen.add(event("2"));
  await seen.tick();
  assert.deepEqual(seen.fetches.flatMap(ids), ["1", "1", "2"]);
  assert.equal(seen.pixels.length, 1);
});

test("what no way brings is tried again later, with the same ids", async (t) => {
  const seen = await sender(t, (n) => (n === 1 ? reject() : { status: 204 }));
  seen.add(event("1"));
  seen.add(event("2"));
  await seen.tick();
  seen.pixels[0].image.onerror();
  await seen.tick();
  await seen.tick(999);
  assert.equal(seen.fetches.length, 1, "not before the back-off");
  await seen.tick(600);
  assert.deepEqual(ids(seen.fetches[1]), ["1", "2"]);
});

for (const status of [429, 503]) {
  test(`${status} waits for Retry-After, and new events wait too`, async (t) => {
    const busy = { status, headers: { "Retry-After": "30" } };
    const seen = await sender(t, (n) => (n === 1 ? busy : { status: 204 }));
    seen.add(event("1"));
    await seen.tick();
    seen.add(event("2"));
    await seen.tick(29999);
    assert.equal(seen.fetches.length, 1);
    await seen.tick(15001);
    assert.deepEqual(ids(seen.fetches[1]), ["1", "2"]);
    assert.equal(seen.warnings.length, 0);
  });
}

test("a collector out of reach is asked a bounded number of times", async (t) => {
  const seen = await sender(t, () => ({ status: 503 }));
  seen.add(event("1"));
  await seen.tick();
  for (let i = 0; i < 30; i++) await seen.tick(36e5);
  assert.equal(seen.fetches.length, 11);
});

test("at most 500 events are held, the newest", async (t) => {
  const seen = await sender(t, (n) => ({ status: n === 1 ? 503 : 204 }));
  for (let i = 0; i < 550; i++) seen.add(event(String(i)));
  await seen.tick();
  await seen.tick(5000);
  for (let i = 0; i < 6; i++) await seen.tick();
  const again = seen.fetches.slice(1).flatMap(ids);
  assert.deepEqual(again, Array.from({ length: 500 }, (_, i) => String(i + 50)));
});

test("what is held stays in order, also when it goes in parts and fails again", async (t) => {
  const seen = await sender(t, (n) => ({ status: n <= 3 ? 503 : 204 }));
  for (let i = 0; i < 600; i++) seen.add(event(String(i), { name: "x".repeat(250) }));
  await seen.tick();
  seen.add(event("new"));
  for (let i = 0; i < 12; i++) await seen.tick(12000);
  const again = seen.fetches.slice(3).flatMap(ids);
  assert.deepEqual(again, [...Array.from({ length: 499 }, (_, i) => String(i + 101)), "new"]);
});

const webkit = { vendor: "Apple Computer, Inc." };

test("at exit the batch goes at once, by a keepalive fetch", async (t) => {
  const seen = await sender(t);
  seen.add(event("1"));
  seen.exit();
  assert.equal(seen.beacons.length, 0);
  assert.deepEqual(ids(seen.fetches[0]), ["1"]);
  assert.equal(seen.fetches[0].options.keepalive, true);
});

for (const [where, options] of [
  ["in WebKit", { navigator: webkit }],
  ["to the page's own host", { url: "https://collector.example/a" }],
]) {
  test(`at exit the beacon takes the batch ${where}`, async (t) => {
    const seen = await sender(t, undefined, options);
    seen.add(event("1"));
    seen.exit();
    assert.equal(seen.fetches.length, 0);
    assert.deepEqual(ids(seen.beacons[0]), ["1"]);
  });
}

test("data-transport=beacon sends every batch so", async (t) => {
  const seen = await sender(t, undefined, { data: { transport: "beacon" } });
  seen.add(event("1"));
  await seen.tick();
  assert.equal(seen.fetches.length, 0);
  assert.deepEqual(ids(seen.beacons[0]), ["1"]);
});

test("at exit the beacon takes the batch at once", async (t) => {
  const seen = await sender(t, undefined, { navigator: webkit });
  seen.add(event("1"));
  seen.exit();
  assert.equal(seen.fetches.length, 0);
  assert.deepEqual(ids(seen.beacons[0]), ["1"]);
});

test("a refused beacon becomes a fetch in the same turn", async (t) => {
  const seen = await sender(t, undefined, { navigator: { ...webkit, sendBeacon: () => false } });
  seen.add(event("1"));
  seen.exit();
  assert.deepEqual(ids(seen.fetches[0]), ["1"]);
});

test("a browser without beacons sends a pixel at exit", async (t) => {
  const seen = await sender(t, undefined, { navigator: { ...webkit, sendBeacon: undefined } });
  seen.add(event("1"));
  seen.exit();
  assert.deepEqual(seen.pixels.flatMap(ids), ["1"]);
});

test("where fetch was rejected, exit goes by pixel: the beacon would lie", async (t) => {
  const seen = await sender(t, reject);
  seen.add(event("1"));
  await seen.tick();
  seen.pixels[0].image.onload();
  await seen.tick();
  seen.add(event("2", { name: "x".repeat(2000) }));
  seen.add(event("3", { name: "x".repeat(2000) }));
  seen.exit();
  assert.equal(seen.beacons.length, 0);
  assert.deepEqual(seen.pixels.flatMap(ids).sort(), ["1", "2", "3"]);
});

test("an exit while the collector is busy sends and keeps the events", async (t) => {
  const seen = await sender(t, (n) => ({ status: n === 1 ? 503 : 204 }), { navigator: webkit });
  seen.add(event("1"));
  await seen.tick();
  seen.exit();
  assert.deepEqual(ids(seen.beacons[0]), ["1"]);
  await seen.tick(5000);
  assert.deepEqual(ids(seen.fetches[1]), ["1"]);
});

test("one request at a time, and room for that of an exit: 60,000 bytes in all", async (t) => {
  const answers = [];
  const seen = await sender(t, () => new Promise((resolve) => answers.push(resolve)));
  for (let i = 0; i < 4; i++) seen.add(event(String(i), { name: "é".repeat(12000) }));
  await seen.tick();
  assert.deepEqual(seen.fetches.map(ids), [["0"]]);
  answers[0]({ status: 204 });
  await seen.tick();
  assert.deepEqual(seen.fetches.map(ids), [["0"], ["1"]]);
  seen.exit();
  await seen.tick();
  assert.deepEqual(seen.fetches.flatMap(ids).sort(), ["0", "1", "2", "3"]);
  for (const { options } of seen.fetches) {
    assert.equal(options.keepalive, true);
    assert.ok(new Blob([options.body]).size <= 30000);
  }
});

test("a batch is split by its bytes in UTF-8, in order", async (t) => {
  // 12,000 characters an event, but 24,000 bytes: two would not fit.
  const seen = await sender(t);
  for (let i = 0; i < 5; i++) seen.add(event(String(i), { name: "é".repeat(12000) }));
  for (let i = 0; i < 5; i++) await seen.tick();
  assert.equal(seen.fetches.length, 5);
  assert.deepEqual(seen.fetches.flatMap(ids), ["0", "1", "2", "3", "4"]);
});

test("one event above the cap goes alone, and not by keepalive, which would refuse it", async (t) => {
  const seen = await sender(t);
  seen.add(event("a"));
  seen.add(event("big", { name: "x".repeat(70000) }));
  seen.add(event("b"));
  for (let i = 0; i < 5; i++) await seen.tick();
  assert.deepEqual(seen.fetches.map(ids), [["a"], ["big"], ["b"]]);
  assert.deepEqual(seen.fetches.map((f) => f.options.keepalive), [true, false, true]);
});

test("what is left without a network stays for the page's return", async (t) => {
  const seen = await sender(t, undefined, { navigator: { ...webkit, onLine: false } });
  seen.add(event("1"));
  seen.exit();
  assert.deepEqual(ids(seen.beacons[0]), ["1"], "the beacon may get through all the same");
  navigator.onLine = true;
  seen.fire("online");
  await seen.tick();
  assert.deepEqual(ids(seen.fetches[0]), ["1"]);
  await seen.tick(5000);
  assert.equal(seen.fetches.length, 1);
});

test("consent that is withdrawn is told to callbacks, and nothing is tried again", async (t) => {
  let refuse;
  const seen = await sender(t, () => new Promise((resolve) => (refuse = () => resolve({ status: 503 }))));
  const told = [];
  const tell = (id) => (taken) => told.push([id, taken]);
  seen.add(event("1", { callback: tell("1") }));
  await seen.tick();
  seen.add(event("2", { callback: tell("2") }));
  footfall.consent("no");
  assert.deepEqual(told, [["2", false]]);
  refuse();
  for (let i = 0; i < 9; i++) await seen.tick(6e5);
  assert.equal(seen.fetches.length, 1);
  assert.deepEqual(told, [["2", false], ["1", undefined]], "of the first nobody knows");
});

test("callback says yes, no, or nothing when no way has worked for long", async (t) => {
  const answers = [{ status: 204 }, { status: 400 }, ...Array(11).fill({ status: 503 })];
  const seen = await sender(t, (n) => answers[n - 1]);
  const told = [];
  for (const id of ["1", "2", "3"]) {
    seen.add(event(id, { callback: (...args) => told.push(...args) }));
    for (let i = 0; i < 12; i++) await seen.tick(36e5);
  }
  assert.deepEqual(told, [true, false, undefined]);
});
