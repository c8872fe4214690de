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
    name: 'consent: held until yes',
    pages: { '/': { tag: { 'data-consent': 'wait', 'data-session': 'tab' } } },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.run(() => { footfall('early'); history.pushState(null, '', 'two'); });
      await pause(500);
      await scene.expect([]);
      assert.equal(await scene.tab.run(() => sessionStorage.length), 0, 'nor is anything stored');
      await scene.tab.run(() => footfall.consent('yes'));
      const rows = await scene.expect(['pageview /', 'custom early /', 'leave /', 'pageview /two']);
      assert.ok(rows.every((row) => row.consent === 'yes'));
      assert.equal(new Set(rows.map((row) => row.session_id)).size, 1);
      assert.ok(rows[0].session_id);
    },
  },
  {
    name: 'consent: dropped at no',
    pages: { '/': { tag: { 'data-consent': 'wait' } } },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.run(() => { footfall('early'); footfall.consent('no'); footfall('late'); });
      await pause(500);
      await scene.expect([]);
    },
  },
  {
    name: 'off() is for good, off(false) takes it back',
    pages: { '/': 'hello' },
    async run(scene) {
      await scene.visit('/');
      await scene.expect(['pageview /']);
      await scene.tab.run(() => { footfall.off(); footfall('unheard'); });
      await scene.visit('/');
      await pause(500);
      await scene.expect(['pageview /']);
      await scene.tab.run(() => footfall.off(false));
      await scene.visit('/');
      await scene.expect(['pageview /', 'pageview /']);
    },
  },
  {
    name: 'a query is cut before it is sent, campaigns are kept',
    pages: { '/': '<a id="next" href="two">two</a>', '/two': 'two' },
    async run(scene) {
      await scene.visit('/?token=secret&utm_source=letter&gclid=g1#frag');
      await scene.tab.click('#next');
      await scene.arrive('/two');
      const rows = await scene.expect(['pageview /', 'leave /', 'pageview /two']);
      assert.equal(rows[0].utm_source, 'letter');
      assert.doesNotMatch(JSON.stringify([rows, scene.wire.events()]), /secret|frag/);
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
