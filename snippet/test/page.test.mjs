import assert from "node:assert/strict";
import { test } from "node:test";
import { browser, load } from "./browser.mjs";

const types = (seen) => seen.events().map((e) => e.type);

test("a load is one pageview with what the page knows", async (t) => {
  const seen = browser(t);
  await load();
  await seen.tick();
  const [{ url, sent_at, events, options, ...envelope }] = seen.fetches;
  assert.equal(url, "https://collector.example/e");
  assert.ok(Math.abs(sent_at - Date.now()) < 5000);
  assert.deepEqual(envelope, {
    site: "shop",
    snippet_version: "2",
    screen_w: 1920,
    screen_h: 1080,
    viewport_w: 1200,
    viewport_h: 500,
  });
  const [{ event_id, pageview_id, ...pageview }] = events;
  assert.notEqual(event_id, pageview_id);
  assert.deepEqual(pageview, {
    type: "pageview",
    url: "https://shop.example/a?q=1",
    referrer: "https://search.example/",
    title: "A page",
    props: {},
  });
});

test("calls before the load are kept and come after the pageview", async (t) => {
  const stub = () => {};
  stub.q = [["signup", { plan: "pro" }, { revenue: 5, currency: "EUR" }]];
  const seen = browser(t, { stub });
  await load();
  await seen.tick();
  assert.deepEqual(types(seen), ["pageview", "custom"]);
  const [, signup] = seen.events();
  assert.deepEqual(signup.props, { plan: "pro" });
  assert.equal(signup.revenue, 5);
  assert.equal(signup.pageview_id, seen.events()[0].pageview_id);
});

test("a second tag on the page does nothing", async (t) => {
  const seen = browser(t);
  await load();
  await load();
  await seen.tick();
  assert.deepEqual(types(seen), ["pageview"]);
});

test("a route is a leave and a pageview whose referrer is the route before", async (t) => {
  const seen = browser(t);
  await load();
  await seen.tick();
  history.pushState({}, "", "/b");
  await seen.tick();
  history.pushState({}, "", "/b#part");
  history.replaceState({}, "", "/b");
  await seen.tick();
  assert.deepEqual(types(seen), ["pageview", "leave", "pageview"]);
  const [first, leave, second] = seen.events();
  assert.equal(leave.pageview_id, first.pageview_id);
  assert.equal(leave.url, "https://shop.example/a?q=1");
  assert.equal(leave.scroll_pct, 25);
  assert.equal(typeof leave.engaged_ms, "number");
  assert.equal(second.referrer, "https://shop.example/a?q=1");
  assert.ok(leave.event_id < second.event_id);
});

test("leaving is one beacon, however many events tell of it", async (t) => {
  const seen = browser(t);
  await load();
  await seen.tick();
  seen.fire("pagehide");
  document.hidden = true;
  seen.fire("visibilitychange");
  assert.equal(seen.fetches.length, 2);
  assert.deepEqual(seen.fetches[1].events.map((e) => e.type), ["leave"]);
});

test("a restored page is a pageview again, with the referrer it had", async (t) => {
  const seen = browser(t);
  await load();
  await seen.tick();
  seen.fire("pagehide");
  seen.fire("pageshow", { persisted: true });
  await seen.tick();
  const [first, again] = seen.events().filter((e) => e.type === "pageview");
  assert.equal(again.type, "pageview");
  assert.equal(again.referrer, "https://search.example/");
  assert.notEqual(again.pageview_id, first.pageview_id);
});

for (const state of ["hidden", "prerendering"]) {
  test(`a page that is ${state} sends nothing until it is seen`, async (t) => {
    // What is prerendered is hidden, too.
    const seen = browser(t, { document: { [state]: true, hidden: true } });
    await load();
    footfall("early");
    await seen.tick();
    seen.fire("pagehide");
    assert.equal(seen.fetches.length + seen.beacons.length, 0);
    document[state] = document.hidden = false;
    seen.fire("visibilitychange");
    seen.fire("prerenderingchange");
    await seen.tick();
    assert.deepEqual(types(seen), ["pageview", "custom"]);
  });
}

test("Global Privacy Control silences everything, and the calls stay harmless", async (t) => {
  const seen = browser(t, { navigator: { globalPrivacyControl: true } });
  await load();
  footfall("signup");
  footfall.page();
  await seen.tick(2000);
  seen.fire("pagehide");
  assert.equal(seen.fetches.length + seen.beacons.length + seen.pixels.length, 0);
  assert.deepEqual(Object.keys(seen.listeners), ["visibilitychange"]);
  assert.deepEqual(seen.warnings, []);
});

test("a site that does not honour Global Privacy Control is sent events", async (t) => {
  const seen = browser(t, { rules: { GPC: false }, navigator: { globalPrivacyControl: true } });
  await load();
  await seen.tick();
  assert.deepEqual(types(seen), ["pageview"]);
});

test("data-auto=false leaves pageviews to the page", async (t) => {
  const seen = browser(t, { tag: { auto: "false" } });
  await load();
  history.pushState({}, "", "/b");
  await seen.tick();
  assert.deepEqual(types(seen), []);
  footfall.page({ view: "cart" });
  await seen.tick();
  assert.deepEqual(seen.events()[0].props, { view: "cart" });
});

test("data-endpoint moves beacon and pixel together", async (t) => {
  const seen = browser(t, {
    tag: { endpoint: "/stats/in" },
    answer: () => Promise.reject(new TypeError("blocked")),
  });
  await load();
  await seen.tick();
  assert.equal(seen.fetches[0].url, "https://collector.example/stats/in");
  assert.ok(seen.pixels[0].src.startsWith("https://collector.example/stats/p.gif?json="));
});

test("data-session=tab keeps one id in the tab", async (t) => {
  const sessionStorage = {};
  let seen = browser(t, { tag: { session: "tab" }, sessionStorage });
  await load();
  await seen.tick();
  assert.equal(seen.fetches[0].session_id, sessionStorage.footfall);
  assert.match(sessionStorage.footfall, /^[0-9a-f]{32}$/);
});

test("storage that is denied costs the session, not the pageview", async (t) => {
  const seen = browser(t, { tag: { session: "tab" } });
  await load();
  await seen.tick();
  assert.deepEqual(types(seen), ["pageview"]);
  assert.equal(seen.fetches[0].session_id, undefined);
});

test("properties that JSON cannot hold never throw into the page", async (t) => {
  const seen = browser(t);
  await load();
  const ring = {};
  ring.ring = ring;
  footfall("ring", ring);
  footfall("big", { n: 1n });
  footfall();
  await seen.tick();
  assert.deepEqual(types(seen), ["pageview"]);
});

test("properties are copied when the event is recorded", async (t) => {
  const seen = browser(t);
  await load();
  const props = { step: 1 };
  footfall("step", props);
  props.step = 2;
  await seen.tick();
  assert.equal(seen.events()[1].props.step, 1);
});

test("the time zone comes when the page is idle, not before the first send", async (t) => {
  const seen = browser(t);
  await load();
  await seen.tick();
  assert.equal(seen.fetches[0].events[0].timezone, undefined);
  await seen.tick(3000);
  footfall("later");
  await seen.tick(1);
  assert.equal(typeof seen.fetches[1].events[0].timezone, "string");
});

test("identify, set and consent before the load hold for the first pageview", async (t) => {
  const stub = () => {};
  const call = (m, ...args) => Object.assign(args, { m });
  stub.q = [["early"], call("identify", "u7"), call("set", { plan: "pro" }), call("consent", "yes")];
  const seen = browser(t, { stub, tag: { consent: "wait" } });
  await load();
  await seen.tick();
  assert.deepEqual(types(seen), ["pageview", "custom"]);
  for (const event of seen.events()) {
    assert.equal(event.user_id, "u7");
    assert.equal(event.props.plan, "pro");
  }
  assert.equal(seen.fetches[0].consent, "yes");
});

test("any other consent is as if there were none", async (t) => {
  const seen = browser(t, { tag: { consent: "maybe" } });
  await load();
  await seen.tick();
  assert.deepEqual(types(seen), ["pageview"]);
});

test("a page that never had the focus has one leave, and no second", async (t) => {
  const seen = browser(t, { document: { hasFocus: () => false } });
  await load();
  await seen.tick();
  seen.fire("pagehide");
  seen.fire("pagehide");
  await seen.tick();
  assert.deepEqual(types(seen), ["pageview", "leave"]);
  assert.equal(seen.events()[1].engaged_ms, 0);
});

test("a session is stored with the first event, not before it, nor after consent was refused", async (t) => {
  const sessionStorage = {};
  const seen = browser(t, { tag: { session: "tab", auto: "false" }, sessionStorage });
  await load();
  await seen.tick();
  assert.deepEqual(sessionStorage, {});
  footfall("signup");
  await seen.tick();
  assert.match(sessionStorage.footfall, /^[0-9a-f]{32}$/);
  footfall.consent("no");
  await seen.tick();
  assert.deepEqual(sessionStorage, {});
});

for (const [path, sent] of [
  ["/a?token=1", "/a"],
  ["/a?token=1&utm_source=x&next=/?ref=2&REF=3#ref=4", "/a?utm_source=x"],
  ["/a?ref=1&my_ref=2&&GCLID=3&", "/a?ref=1&GCLID=3"],
  ["/R&D&ref=1?a=1&b&ref=2", "/R&D&ref=1?ref=2"],
  ["/a#ref=1", "/a"],
]) {
  test(`the address ${path} is sent as ${sent}`, async (t) => {
    const seen = browser(t, { url: "https://shop.example" + path });
    await load();
    await seen.tick();
    assert.equal(seen.events()[0].url, "https://shop.example" + sent);
  });
}

test("what a text holds for a pattern arrives as it is", async (t) => {
  const title = "Save $$, $& and $` or }";
  const seen = browser(t, { document: { title } });
  await load();
  await seen.tick();
  assert.equal(seen.events()[0].title, title);
});

test("without data-site nothing runs", async (t) => {
  const seen = browser(t, { document: { currentScript: { src: "https://other.example/", dataset: {} } } });
  await load();
  await seen.tick(2000);
  assert.deepEqual([seen.fetches, Object.keys(seen.listeners)], [[], []]);
});
