// Every scenario in every engine that can do it, from the tag on a page of another site to the
// rows in PostgreSQL. One `up` for all, one browser for each engine.
//
// ENGINES=webkit or ENGINES=chromium,firefox names some; --test-name-pattern names scenarios.
import { test } from 'node:test';
import { ENGINES, open } from './engines.mjs';
import { openStage } from './scene.mjs';
import pages from './scenarios/pages.mjs';

const SCENARIOS = [...pages];
const chosen = process.env.ENGINES?.split(',') ?? Object.keys(ENGINES);

test('scenarios', { concurrency: true }, async (t) => {
  const stage = await openStage(t);
  const all = chosen.map((name) =>
    t.test(name, async (t) => {
      const engine = { ...(await open(t, name)), t };
      t.diagnostic(engine.version);
      for (const scenario of SCENARIOS) {
        if (scenario.engines && !scenario.engines.includes(name)) continue;
        await t.test(scenario.name, (t) => stage.play(t, engine, scenario));
      }
    }));
  await Promise.all(all);
  await t.test('no row came late, none is dead', (t) => stage.judge(t));
});
