// What only Chromium has, or only Chromium can be made to have.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { chromium, directory, until } from '../lib.mjs';
import { waitsForActivation } from './prerender.mjs';

// A blocker as the common lists make it: beacons and <a ping> to strangers are dropped.
const RULES = [{
  id: 1,
  condition: { resourceTypes: ['ping'], domainType: 'thirdParty' },
  action: { type: 'block' },
}];

function blocker(t) {
  const dir = directory(t);
  const write = (name, value) => fs.writeFileSync(path.join(dir, name), JSON.stringify(value));
  write('manifest.json', {
    manifest_version: 3,
    name: 'blocker',
    version: '1',
    permissions: ['declarativeNetRequest'],
    declarative_net_request: { rule_resources: [{ id: 'r', enabled: true, path: 'rules.json' }] },
  });
  write('rules.json', RULES);
  return dir;
}

export default [
  ...waitsForActivation,
  {
    name: 'a blocker of beacons to strangers: pageview, click and leave arrive',
    pages: {
      '/': '<b id="b" data-event="play">b</b> <a id="next" href="two">two</a>',
      '/two': { tag: null },
    },
    async run(scene) {
      const browser = await chromium(scene.t, { enableExtensions: [blocker(scene.t)], pipe: true });
      const tab = await browser.newPage();
      await tab.goto(scene.url('/'));
      // The blocker is at work: a beacon says yes and goes nowhere.
      assert.equal(await tab.evaluate((to) => navigator.sendBeacon(to, 'x'), `${scene.wire.origin}/blocked`), true);
      await tab.click('#b');
      await scene.expect(['pageview /', 'click play /']);
      await tab.click('#next');
      await until(5_000, () => 'the next page', () => tab.url().endsWith('/two'));
      await scene.expect(['pageview /', 'click play /', 'leave /']);
      assert.deepEqual(scene.wire.requests('/blocked'), []);
    },
  },
  {
    name: 'a page without a secure context',
    pages: { '/': '' },
    async run(scene) {
      const args = ['--host-resolver-rules=MAP shop.test 127.0.0.1'];
      const browser = await chromium(scene.t, { args });
      const tab = await browser.newPage();
      await tab.goto(scene.url('/').replace('localhost', 'shop.test'));
      assert.equal(await tab.evaluate(() => isSecureContext), false);
      const [row] = await scene.expect(['pageview /']);
      assert.equal(row.hostname, 'shop.test');
    },
  },
].map((scenario) => ({ ...scenario, engines: ['chromium'] }));
