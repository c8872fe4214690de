// In a file, and so in a process, of its own: a page is told one thing only.
import assert from "node:assert/strict";
import { test } from "node:test";
import { browser, load } from "./browser.mjs";

test("any other 4xx drops the batch and is told once, with its reason", async (t) => {
  const headers = { "X-Footfall-Reason": "unknown_site" };
  const seen = browser(t, { rules: { WARN: true }, answer: () => ({ status: 400, headers }) });
  await load();
  await seen.tick();
  footfall("a");
  await seen.tick(36e5);
  assert.equal(seen.fetches.length, 2);
  assert.equal(seen.pixels.length, 0);
  assert.deepEqual(seen.warnings, ["footfall: unknown_site"]);
});
