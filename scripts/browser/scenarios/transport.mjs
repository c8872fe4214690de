// How events travel when the way is bad: refusals, no CORS, no network, too much at once.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { until } from '../lib.mjs';
import { CUT } from '../wire.mjs';

const carries = ({ path }) => path === '/e' || path === '/p.gif';

// first answers the first n requests that carry events with `answer`.
const first = (n, answer) => {
  let seen = 0;
  return (entry) => (carries(entry) && seen++ < n ? answer : undefined);
};
const CORS = { 'Access-Control-Allow-Origin': '*', 'Access-Control-Expose-Headers': 'Retry-After' };

export default [
  {
    name: 'a collector that answers 503 gets the event again, under its id',
    pages: { '/': 'hello' },
    async run(scene) {
      scene.wire.answer = first(2, { status: 503 });
      await scene.visit('/');
      await scene.expect(['pageview /']);
      const sent = scene.wire.log.filter(carries);
      assert.equal(sent.length, 3);
      assert.equal(new Set(scene.wire.events().map((event) => event.event_id)).size, 1);
      assert.ok(sent[1].at - sent[0].at >= 900, 'there is a pause before the second try');
      assert.ok(sent[2].at - sent[1].at > sent[1].at - sent[0].at, 'and a longer one before the third');
    },
  },
  {
    name: 'Retry-After is waited for, with what happened meanwhile',
    pages: { '/': 'hello' },
    async run(scene) {
      scene.wire.answer = first(1, { status: 429, headers: { ...CORS, 'Retry-After': '3' } });
      await scene.visit('/');
      await until(5_000, () => 'the first request', () => scene.wire.log.some(carries));
      await pause(300);
      await scene.tab.run(() => footfall('meanwhile'));
      await scene.expect(['pageview /', 'custom meanwhile /']);
      const sent = scene.wire.log.filter(carries);
      assert.equal(sent.length, 2);
      assert.ok(sent[1].at - sent[0].at >= 2_950, `waited ${sent[1].at - sent[0].at} ms`);
    },
  },
  {
    name: 'a refusal that is final is not repeated',
    pages: { '/': { tag: { 'data-site': 'stranger' } } },
    async run(scene) {
      await scene.visit('/');
      await until(5_000, () => 'the request', () => scene.wire.log.some(carries));
      await pause(2_000);
      await scene.expect([]);
      assert.equal(scene.wire.log.filter(carries).length, 1);
      assert.equal(scene.wire.log.find(carries).status, 403);
    },
  },
  {
    name: 'a collector without CORS: sent twice, one row',
    pages: { '/': 'hello' },
    async run(scene) {
      scene.wire.strip = true;
      await scene.visit('/');
      await scene.expect(['pageview /']);
      await until(5_000, () => 'the pixel', () => scene.wire.requests('/p.gif').length > 0);
      await scene.wire.quiet();
      const ids = scene.wire.events().map((event) => event.event_id);
      assert.equal(ids.length, 2);
      assert.equal(ids[0], ids[1]);
      assert.equal((await scene.rows()).length, 1);
    },
  },
  {
    name: 'a collector that hangs up, and comes back',
    pages: { '/': 'hello' },
    async run(scene) {
      let away = true;
      scene.wire.answer = (entry) => (away && carries(entry) ? CUT : undefined);
      await scene.visit('/');
      await until(5_000, () => 'a try', () => scene.wire.log.some(carries));
      await pause(500);
      await scene.tab.run(() => footfall('meanwhile'));
      await pause(300);
      assert.deepEqual(await scene.rows(), []);
      away = false;
      await scene.expect(['pageview /', 'custom meanwhile /'], { deadline: 20_000 });
    },
  },
  {
    name: 'offline, then online',
    engines: ['chromium'],
    pages: { '/': 'hello' },
    async run(scene) {
      await scene.visit('/');
      await scene.expect(['pageview /']);
      await scene.tab.inner.setOfflineMode(true);
      await scene.tab.run(() => footfall('dark'));
      await pause(500);
      await scene.tab.run(() => history.pushState(null, '', 'two'));
      await pause(500);
      await scene.expect(['pageview /']);
      await scene.tab.inner.setOfflineMode(false);
      await scene.expect(['pageview /', 'custom dark /', 'leave /', 'pageview /two'], { deadline: 20_000 });
    },
  },
  {
    name: '3 MB in one task arrive, each request below 64 KiB',
    pages: { '/': 'hello' },
    async run(scene) {
      await scene.visit('/');
      await scene.expect(['pageview /']);
      await scene.tab.run((n) => {
        for (let i = 0; i < n; i++) footfall('big', { i, text: 'жёлудь '.repeat(60), more: 'x'.repeat(300) });
      }, 3000);
      const lines = ['pageview /', ...Array(3000).fill('custom big /')];
      const rows = await scene.expect(lines, { deadline: 60_000 });
      assert.equal(new Set(rows.slice(1).map((row) => row.props.i)).size, 3000);
      const sizes = scene.wire.requests('/e').map(({ body }) => body.length);
      assert.ok(sizes.reduce((a, b) => a + b) > 3_000_000);
      assert.ok(Math.max(...sizes) <= 65_536, `a request of ${Math.max(...sizes)} bytes`);
    },
  },
  {
    name: 'many events in the moment of leaving',
    pages: { '/': '<a id="next" href="two">two</a>', '/two': { tag: null } },
    async run(scene) {
      await scene.visit('/');
      await scene.expect(['pageview /']);
      await scene.tab.run(() => {
        addEventListener('beforeunload', () => {
          for (let i = 0; i < 30; i++) footfall('last', { text: 'x'.repeat(400) });
        });
      });
      await scene.tab.click('#next');
      await scene.arrive('/two');
      await scene.expect(['pageview /', ...Array(30).fill('custom last /'), 'leave /']);
    },
  },
  {
    name: 'data-transport="beacon" sends by beacon',
    pages: { '/': { tag: { 'data-transport': 'beacon' } } },
    async run(scene) {
      await scene.visit('/');
      const [row] = await scene.expect(['pageview /']);
      assert.equal(row.transport, 'beacon');
    },
  },
];
