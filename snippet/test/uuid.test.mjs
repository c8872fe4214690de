import assert from "node:assert/strict";
import { test } from "node:test";
import { uuid } from "../src/uuid.js";

const time = (id) => parseInt(id.slice(0, 12), 16);

test("an id is a UUID of version 7 and variant 1", () => {
  assert.match(uuid(), /^[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}$/);
});

test("an id begins with the millisecond it was made in", () => {
  const before = Date.now();
  const made = time(uuid());
  assert.ok(made >= before && made <= Date.now() + 2, `${made} is not near ${before}`);
});

test("the ids of a burst rise strictly", () => {
  const ids = Array.from({ length: 500 }, uuid);
  assert.deepEqual(ids, [...new Set(ids)].sort());
});

test("an id keeps rising when the clock is set back", (t) => {
  const first = uuid();
  t.mock.method(Date, "now", () => time(first) - 60000);
  assert.ok(uuid() > first);
});

test("the random part differs of every id", () => {
  const random = new Set(Array.from({ length: 200 }, () => uuid().slice(12)));
  assert.equal(random.size, 200);
});
