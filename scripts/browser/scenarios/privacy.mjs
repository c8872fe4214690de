// What is not sent, and what waits for consent.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { until } from '../lib.mjs';

const claim = (name, value) =>
  `<script>Object.defineProperty(Navigator.prototype, '${name}', { get: () => ${value}, configurable: true })</script>`;

const nothing = (name, page) => ({
  name,
  pages: { '/': page },
  async run(scene) {
    await scene.visit('/');
    await scene.tab.run(() => { footfall('here'); history.pushState(null, '', 'two'); });
    await pause(700);
    await scene.expect([]);
    assert.deepEqual(scene.wire.log.map((entry) => entry.path), ['/f.js'], 'nothing but the script is asked for');
  },
});

export default [
  nothing('Global Privacy Control: silent', { head: claim('globalPrivacyControl', true) }),
  {
    name: 'Do Not Track is not the default: counted',
    pages: { '/': { head: claim('doNotTrack', '"1"') } },
    async run(scene) {
      await scene.visit('/');
      await scene.expect(['pageview /']);
    },
  },
  {
    name: 'data-session="tab": one id for the tab, another for another tab',
    pages: { '/': { tag: { 'data-session': 'tab' } }, '/two': { tag: { 'data-session': 'tab' } } },
    async run(scene) {
      await scene.visit('/');
      await scene.expect(['pageview /']);
      await scene.visit('/two');
      await scene.expect(['pageview /', 'leave /', 'pageview /two']);
      const other = await scene.open();
      await other.goto(scene.url('/'));
      await until(5_000, () => 'the pageview of the other tab', async () =>
        (await scene.rows()).filter((row) => row.type === 'pageview').length === 3);
      await scene.accept();
      const views = (await scene.rows()).filter((row) => row.type === 'pageview');
      const [one, two, three] = views.map((row) => row.session_id);
      assert.ok(one && one === two && three && three !== one, `${one}, ${two}, ${three}`);
    },
  },
];
