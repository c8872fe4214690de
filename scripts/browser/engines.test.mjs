// Every scenario in every engine that can do it, from the tag on a page of another site to the
// rows in PostgreSQL. One `up` for all, one browser for each engine.
//
// ENGINES=webkit or ENGINES=chromium,firefox names some; SCENARIOS='capture|linker' names scenarios.
import { test } from 'node:test';
import { ENGINES, open } from './engines.mjs';
import { openStage } from './scene.mjs';
import capture from './scenarios/capture.mjs';
import chromium from './scenarios/chromium.mjs';
import clicks from './scenarios/clicks.mjs';
import extensions from './scenarios/extensions.mjs';
import forms from './scenarios/forms.mjs';
import later from './scenarios/later.mjs';
import loading from './scenarios/loading.mjs';
import outbox from './scenarios/outbox.mjs';
import pages from './scenarios/pages.mjs';
import policies from './scenarios/policies.mjs';
import privacy from './scenarios/privacy.mjs';
import printed from './scenarios/printed.mjs';
import proxies from './scenarios/proxies.mjs';
import secrets from './scenarios/secrets.mjs';
import switches from './scenarios/switches.mjs';
import transport from './scenarios/transport.mjs';
import vitals from './scenarios/vitals.mjs';

const SCENARIOS = [
  ...pages, ...clicks, ...forms, ...transport, ...policies, ...privacy, ...loading, ...outbox,
  ...vitals, ...secrets, ...chromium, ...proxies, ...switches, ...extensions,
  ...printed, ...capture, ...later,
];
const wanted = SCENARIOS.filter(({ name }) => RegExp(process.env.SCENARIOS ?? '').test(name));
const ENOUGH = 10; // each may wait for long
const chosen = process.env.ENGINES?.split(',') ?? Object.keys(ENGINES);

test('scenarios', { concurrency: true }, async (t) => {
  const stage = await openStage(t);
  const all = chosen.map((name) =>
    t.test(name, async (t) => {
      const engine = { ...(await open(t, name)), t };
      t.diagnostic(engine.version);
      let bad = 0;
      for (const scenario of wanted) {
        if (scenario.engines && !scenario.engines.includes(name)) continue;
        if (bad === ENOUGH) throw new Error(`${ENOUGH} scenarios failed: the others were not tried`);
        await t.test(scenario.name, async (t) => {
          bad++;
          await stage.play(t, engine, scenario);
          bad--;
        });
      }
    }));
  await Promise.all(all);
  await t.test('no row came late, none is dead', (t) => stage.judge(t));
});
