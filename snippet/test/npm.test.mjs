import assert from "node:assert/strict";
import { test } from "node:test";
import { browser, load } from "./browser.mjs";

const varies = ["event_id", "pageview_id", "sent_at", "engaged_ms", "body"];
const page = { url: "https://shop.example/a?utm_source=x&secret=1" };
const steady = (requests) =>
  JSON.parse(JSON.stringify(requests, (name, value) => (varies.includes(name) ? "*" : value)));

async function visit(seen) {
  await seen.tick();
  footfall("signup", { plan: "pro" });
  await seen.tick();
  history.pushState({}, "", "/b");
  await seen.tick();
  return steady(seen.fetches);
}

test("imported on a server, the package does nothing and does not fail", async () => {
  const { footfall: call, init } = await import("../npm/index.js?server");
  init({ site: "shop", endpoint: "https://collector.example/e" });
  call("signup");
  call.identify("u7");
});

test("the package sends what the tag sends", async (t) => {
  const tag = browser(t, page);
  await load();
  const byTag = await visit(tag);

  t.mock.timers.reset();
  delete globalThis.footfall;
  const seen = browser({ mock: { method() {}, timers: t.mock.timers } }, page);
  const { init, footfall: call } = await import("../npm/index.js?page");
  init({ site: "shop", endpoint: "https://collector.example/e" });
  assert.equal(typeof call.page, "function");
  const byPackage = await visit(seen);
  assert.equal(byTag.length, 3);
  assert.deepEqual(byPackage, byTag);
});
