// The outbox: what could not be sent survives the page, and is one row however often it is sent.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { until } from '../lib.mjs';
import { CUT } from '../wire.mjs';

const OUTBOX = { 'data-ext': 'outbox' };
const carries = ({ path }) => path === '/e' || path === '/p.gif';
const entries = () => Object.keys(localStorage).filter((key) => key.startsWith('footfall '));
const kept = (scene, n) => until(30_000, () => `${n} entries on the disk`, async () =>
  (await scene.tab.run(entries)).length === n);

// cut takes the collector off the net, and gives it back; its scripts are still there.
function cut(scene) {
  let away = true;
  scene.wire.answer = (entry) => (away && carries(entry) ? CUT : undefined);
  return () => { away = false; };
}

// again closes the tab, with all that it has in memory, and opens another.
async function again(scene) {
  const next = await scene.open();
  await scene.tab.close();
  scene.tab = next;
}

const loaded = (scene, n = 1) => until(5_000, () => 'the outbox to be loaded', () =>
  scene.wire.log.filter(({ path }) => /f-outbox/.test(path)).length >= n);

export default [
  {
    name: 'outbox: what the collector was away for is sent by a later page, once',
    pages: { '/': { tag: OUTBOX }, '/two': { tag: OUTBOX }, '/three': { tag: OUTBOX } },
    async run(scene) {
      const back = cut(scene);
      await scene.visit('/');
      await kept(scene, 1);
      await scene.tab.run(() => footfall('dark', { text: 'жёлудь', list: [1, 'b'] }));
      await scene.visit('/two');
      await pause(500);
      await scene.expect([]);
      back();
      await scene.visit('/three');
      const rows = await scene.expect(
        ['pageview /', 'custom dark /', 'leave /', 'pageview /two', 'leave /two', 'pageview /three'],
        { deadline: 20_000 });
      assert.deepEqual(rows[1].props, { text: 'жёлудь', list: [1, 'b'] });
      assert.ok(rows.every((row) => row.clock === 'client'), 'each has the time at which it happened');
      await kept(scene, 0);
    },
  },
  {
    name: 'outbox: offline, closed, and online in another tab',
    engines: ['chromium'],
    pages: { '/': { tag: OUTBOX }, '/two': { tag: OUTBOX } },
    async run(scene) {
      await scene.visit('/');
      await scene.expect(['pageview /']);
      await scene.tab.inner.setOfflineMode(true);
      await scene.tab.run(() => footfall('dark'));
      await kept(scene, 1);
      const back = cut(scene); // a tab that is closed is no longer offline for its last requests
      await again(scene);
      await scene.expect(['pageview /']);
      back();
      await scene.visit('/two');
      await scene.expect(['pageview /', 'custom dark /', 'leave /', 'pageview /two'], { deadline: 20_000 });
      await kept(scene, 0);
    },
  },
  {
    name: 'outbox: two tabs of a site at once, each event is one row',
    pages: { '/': { tag: OUTBOX }, '/two': { tag: OUTBOX } },
    async run(scene) {
      const back = cut(scene);
      await scene.visit('/');
      await scene.tab.run(() => footfall('one'));
      const other = await scene.open();
      await other.goto(scene.url('/two'));
      await other.run(() => footfall('two'));
      await until(10_000, () => 'the entries of both', async () => (await scene.tab.run(entries)).length >= 4);
      back();
      const all = ['pageview /', 'custom one /', 'leave /', 'pageview /two', 'custom two /two'];
      const hidden = async () => (await scene.rows()).some((row) => row.type === 'leave');
      // Where the other tab hides this one, there is a leave more.
      const lines = async () => ((await hidden()) ? all : all.filter((line) => !/^leave/.test(line)));
      await until(30_000, () => 'the rows of both', async () => (await scene.rows()).length >= 4);
      await kept(scene, 0);
      await scene.wire.quiet();
      await scene.expect(await lines(), { ordered: false });
    },
  },
  {
    name: 'outbox: nothing is sent twice, or on the disk, while all is well',
    pages: { '/': { tag: OUTBOX, body: '<a id="next" href="two">two</a>' }, '/two': { tag: OUTBOX } },
    async run(scene) {
      await scene.visit('/');
      await loaded(scene);
      await scene.tab.click('#next');
      await scene.arrive('/two');
      await scene.expect(['pageview /', 'leave /', 'pageview /two']);
      const ids = scene.wire.events().map((event) => event.event_id);
      assert.equal(new Set(ids).size, ids.length, 'an event was sent twice');
      assert.deepEqual(await scene.tab.run(entries), []);
    },
  },
  {
    name: 'outbox: 3 MB while the collector is away: the newest million characters arrive, once',
    pages: { '/': { tag: OUTBOX }, '/two': { tag: OUTBOX } },
    async run(scene) {
      await scene.visit('/');
      await scene.expect(['pageview /']);
      await loaded(scene);
      const back = cut(scene);
      await scene.tab.run((n) => {
        for (let i = 0; i < n; i++) footfall('big', { i, text: 'жёлудь '.repeat(300), more: 'x'.repeat(1000) });
      }, 600);
      await until(20_000, () => 'a full disk', async () => (await scene.tab.run(entries)).length > 200);
      await scene.wire.quiet();
      const [n, characters, room] = await scene.tab.run(() => {
        const all = Object.keys(localStorage).filter((key) => key.startsWith('footfall '));
        const size = all.reduce((sum, key) => sum + localStorage[key].length, 0);
        localStorage.pages = 'x'.repeat(1_000_000); // there is room for the page's own
        delete localStorage.pages;
        return [all.length, size, true];
      });
      assert.ok(room && characters <= 1_000_000 && characters > 900_000, `${n} entries, ${characters} characters`);
      await again(scene);
      back();
      await scene.visit('/two');
      await until(30_000, () => 'the rows', async () => (await scene.rows()).some((row) => row.type === 'custom'));
      await kept(scene, 0);
      await scene.wire.quiet();
      let numbers;
      await until(30_000, () => `${n} rows; there are ${numbers.length}`, async () => {
        const rows = await scene.rows();
        numbers = rows.filter((row) => row.name === 'big').map((row) => row.props.i).sort((a, b) => a - b);
        return numbers.length >= n - 2 && numbers[0] === 600 - numbers.length;
      });
      assert.deepEqual(numbers, Array.from({ length: numbers.length }, (_, i) => 600 - numbers.length + i));
      await scene.accept();
    },
  },
  {
    name: 'outbox: off() empties it, and nothing of it is ever sent',
    pages: { '/': { tag: OUTBOX }, '/two': { tag: OUTBOX } },
    async run(scene) {
      const back = cut(scene);
      await scene.visit('/');
      await kept(scene, 1);
      await scene.tab.run(() => footfall.off());
      assert.deepEqual(await scene.tab.run(() => Object.keys(localStorage)), ['footfall_off']);
      back();
      await scene.visit('/two');
      await pause(1_500);
      await scene.expect([]);
      await scene.tab.run(() => footfall.off(false));
      assert.deepEqual(await scene.tab.run(entries), []);
    },
  },
  {
    name: 'outbox: nothing is stored or read before consent, no empties it',
    pages: { '/': { tag: { ...OUTBOX, 'data-consent': 'wait' } } },
    async run(scene) {
      const back = cut(scene);
      await scene.visit('/');
      await loaded(scene);
      await scene.tab.run(() => footfall('early'));
      await scene.visit('/');
      await pause(500);
      assert.deepEqual(await scene.tab.run(entries), []);
      assert.deepEqual(scene.wire.log.filter(carries), []);
      await scene.tab.run(() => footfall.consent('yes'));
      await kept(scene, 1);
      await scene.tab.run(() => footfall.consent('no'));
      await kept(scene, 0);
      back();
      await scene.visit('/');
      await pause(500);
      await scene.expect([]);
    },
  },
  {
    name: 'outbox: a page where storage throws sends all the same',
    pages: {
      '/': { headers: { 'Content-Security-Policy': 'sandbox allow-scripts' }, tag: OUTBOX },
      '/full': { head: `<script>Storage.prototype.setItem = function () { throw new DOMException('full', 'QuotaExceededError'); };</script>`, tag: OUTBOX },
    },
    async run(scene) {
      let n = 0;
      scene.wire.answer = (entry) => (carries(entry) && n++ === 0 ? { status: 503 } : undefined);
      await scene.visit('/');
      await scene.expect(['pageview /']);
      n = 0;
      await scene.visit('/full');
      await scene.tab.run(() => footfall('here'));
      await until(10_000, () => 'the rows', async () => (await scene.rows()).some((row) => row.name === 'here'));
      assert.deepEqual(await scene.tab.run(entries), []);
      await scene.accept();
    },
  },
];
