import assert from "node:assert/strict";
import { test } from "node:test";
import { size, split } from "../src/batch.js";

const encode = (events) => JSON.stringify({ events });

test("a batch below the cap stays whole", () => {
  assert.deepEqual(split([1, 2, 3], encode), [[1, 2, 3]]);
});

test("a batch is split by its bytes in UTF-8, in order", () => {
  // 20,000 characters an event, but 40,000 bytes: two would not fit.
  const events = Array.from({ length: 5 }, (_, i) => i + "é".repeat(20000));
  const parts = split(events, encode);
  assert.equal(parts.length, 5);
  assert.deepEqual(parts.flat(), events);
});

test("each part fits below 60,000 bytes", () => {
  const parts = split(Array.from({ length: 1000 }, () => "€".repeat(99)), encode);
  assert.ok(parts.length > 5);
  for (const part of parts) assert.ok(size(encode(part)) <= 60000);
});

test("one event above the cap stays alone", () => {
  const big = "x".repeat(70000);
  assert.deepEqual(split(["a", big, "b"], encode), [["a"], [big], ["b"]]);
});
