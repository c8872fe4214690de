import assert from "node:assert/strict";
import { test } from "node:test";
import { opened } from "./browser.mjs";

// A small generator with a seed, so that a failure can be had again.
function random(seed) {
  return (below) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
}

for (let seed = 1; seed <= 30; seed++) {
  test(`no event id is sent with two bodies, none is lost, each callback called once: seed ${seed}`, async (t) => {
    const pick = random(seed);
    let calm = false;
    const answers = [
      () => ({ status: 204 }),
      () => ({ status: 503, headers: { "Retry-After": String(pick(3)) } }),
      () => ({ status: 429 }),
      () => Promise.reject(new TypeError("blocked")),
    ];
    const seen = await opened(t, {
      answer: () => (calm ? { status: 204 } : answers[pick(4)]()),
      navigator: pick(2) ? { vendor: "Apple Computer, Inc." } : {},
    });
    const { core } = seen;
    core.before.push((event) => {
      event.props.seen = (event.props.seen || 0) + 1;
    });
    const taken = [];
    const callback = () => {
      const i = taken.push([]) - 1;
      return (ok) => taken[i].push(ok);
    };
    let made = 0;
    for (let step = 0; step < 40; step++) {
      document.title = `title ${step}`;
      const [does] = [pick(6)];
      if (does === 0) footfall.page({ step });
      if (does === 1) footfall.set({ step });
      if (does === 2) seen.exit();
      if (does > 2) footfall("n", { step }, { callback: ++made && callback() });
      await seen.tick(pick(3) * 400);
      for (const { image } of seen.pixels.splice(0)) pick(2) ? image.onload() : image.onerror();
    }
    calm = true;
    for (let i = 0; i < 20; i++) {
      await seen.tick(6e5);
      for (const { image } of seen.pixels.splice(0)) image.onload();
    }
    const bodies = new Map();
    for (const [id, text] of seen.sent) {
      assert.equal(bodies.get(id) ?? text, text);
      bodies.set(id, text);
    }
    const ours = [...bodies.values()].filter((text) => JSON.parse(text).type === "custom");
    assert.equal(ours.length, made, "each event was sent");
    assert.ok(ours.every((text) => JSON.parse(text).props.seen === 1), "and sealed once");
    assert.equal(taken.length, made);
    for (const answers of taken) {
      assert.ok(answers.length === 1 && typeof answers[0] === "boolean", `a callback was called with ${answers}`);
    }
    assert.ok(taken.flat().includes(true) || !made);
  });
}
