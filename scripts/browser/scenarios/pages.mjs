// What is a page, and when: loads, single-page apps, the back/forward cache, hidden tabs.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { until } from '../lib.mjs';

const push = (url) => history.pushState(null, '', url);
const replace = (url) => history.replaceState(null, '', url);

export default [
  {
    name: 'a page is one pageview, with what the browser knows of it',
    pages: { '/': { body: 'hello', title: 'First' } },
    async run(scene) {
      await scene.visit('/');
      const [row] = await scene.expect(['pageview /']);
      assert.equal(row.title, 'First');
      assert.equal(row.hostname, 'localhost');
      assert.equal(row.clock, 'client');
      assert.equal(row.transport, 'fetch');
      assert.ok(row.language && row.screen_w > 0 && row.viewport_h > 0 && row.snippet_version);
      assert.ok(row.pageview_id && row.visitor_id);
      assert.equal(row.session_id, null, 'no id is kept unless asked for');
      assert.deepEqual(await scene.tab.run(() => [document.cookie, sessionStorage.length, localStorage.length]), ['', 0, 0]);
      assert.equal(scene.wire.requests('/e').length, 1);
    },
  },
  {
    name: 'a page that a program drives is sent too',
    pages: { '/': 'hello' },
    async run(scene) {
      await scene.visit('/');
      const [row] = await scene.expect(['pageview /']);
      assert.equal(await scene.tab.run(() => navigator.webdriver), true);
      assert.ok(row.bot && row.bot_reasons.includes('webdriver'), `${row.bot_reasons}`);
    },
  },
  {
    name: 'a link to the next page: a leave, then a pageview with its referrer',
    pages: { '/': '<a id="next" href="two">two</a>', '/two': 'two' },
    async run(scene) {
      await scene.visit('/');
      await scene.expect(['pageview /']);
      await pause(200);
      await scene.tab.click('#next');
      await scene.arrive('/two');
      const [one, leave, two] = await scene.expect(['pageview /', 'leave /', 'pageview /two']);
      assert.equal(two.referrer, scene.url('/'));
      assert.equal(leave.pageview_id, one.pageview_id);
      assert.notEqual(two.pageview_id, one.pageview_id);
      assert.ok(leave.engaged_ms >= 200 && leave.engaged_ms < 60_000, `engaged ${leave.engaged_ms}`);
      assert.equal(leave.scroll_pct, 100, 'a page without scrolling was seen whole');
    },
  },
  {
    name: 'how far a long page was read',
    pages: { '/': '<div style="height:10000px">long</div><a id="next" href="two">two</a>', '/two': 'two' },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.run(() => new Promise((seen) => {
        addEventListener('scroll', () => setTimeout(seen, 100), { once: true });
        scrollTo(0, 4000);
      }));
      await scene.tab.run(() => { scrollTo(0, 0); document.querySelector('#next').click(); });
      await scene.arrive('/two');
      const [, leave] = await scene.expect(['pageview /', 'leave /', 'pageview /two']);
      assert.ok(leave.scroll_pct > 40 && leave.scroll_pct < 60, `read ${leave.scroll_pct} %`);
    },
  },
  {
    name: 'pushState to a new path is a pageview',
    pages: { '/': '' },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.run(push, 'two');
      const rows = await scene.expect(['pageview /', 'leave /', 'pageview /two']);
      assert.equal(rows[2].referrer, scene.url('/'), 'its referrer is the page before');
      const later = scene.wire.requests('/e').slice(1);
      assert.ok(later.length <= 1, `one request a navigation, not ${later.length}`);
    },
  },
  {
    name: 'pushState to the same URL is nothing',
    pages: { '/': '' },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.run(push, '');
      await scene.tab.run(push, scene.url('/'));
      await scene.expect(['pageview /']);
    },
  },
  {
    name: 'pushState to another query is a pageview',
    pages: { '/': '' },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.run(push, '?ref=b');
      const rows = await scene.expect(['pageview /', 'leave /', 'pageview /']);
      assert.match(rows[2].url, /\?ref=b$/);
    },
  },
  {
    name: 'another fragment is nothing, and no fragment is sent',
    pages: { '/': '<a id="down" href="#part">down</a><p id="part">' },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.click('#down');
      await scene.tab.run(push, '#secret');
      const rows = await scene.expect(['pageview /']);
      assert.doesNotMatch(JSON.stringify([rows, scene.wire.events()]), /secret|#part/);
    },
  },
  {
    name: 'replaceState to a new path is a pageview',
    pages: { '/': '' },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.run(replace, 'two');
      await scene.expect(['pageview /', 'leave /', 'pageview /two']);
    },
  },
  {
    name: 'back to another path within the page is a pageview',
    pages: { '/': '' },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.run(push, 'two');
      await scene.expect(['pageview /', 'leave /', 'pageview /two']);
      await scene.tab.back();
      await scene.expect(['pageview /', 'leave /', 'pageview /two', 'leave /two', 'pageview /']);
    },
  },
  {
    name: 'navigation.navigate with intercept is a pageview',
    engines: ['chromium', 'firefox'],
    pages: { '/': '' },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.run(async () => {
        navigation.addEventListener('navigate', (event) => event.intercept());
        await navigation.navigate('two').finished;
      });
      await scene.expect(['pageview /', 'leave /', 'pageview /two']);
    },
  },
  {
    name: 'a page out of the back/forward cache is a pageview',
    pages: { '/': '<a id="next" href="two">two</a>', '/two': 'two' },
    async run(scene) {
      await scene.visit('/');
      await scene.expect(['pageview /']);
      await scene.tab.run(() => addEventListener('pageshow', (event) => { window.restored = event.persisted; }));
      await scene.tab.click('#next');
      await scene.arrive('/two');
      await scene.expect(['pageview /', 'leave /', 'pageview /two']);
      await scene.tab.back();
      await scene.arrive('/');
      // Chromium shows the old page before it hides the new one.
      const rows = await scene.expect(
        ['pageview /', 'leave /', 'pageview /two', 'leave /two', 'pageview /'], { ordered: false });
      assert.equal(await scene.tab.run(() => window.restored), true, 'the page was in the cache');
      assert.equal(new Set(rows.map((row) => row.pageview_id)).size, 3);
    },
  },
  {
    name: 'a hidden tab is nothing until it is shown',
    engines: ['chromium', 'firefox'],
    pages: { '/': '', '/front': { body: '', tag: null } },
    async run(scene) {
      scene.tab = await scene.open();
      const front = await scene.open();
      await front.goto(scene.url('/front'));
      await scene.visit('/');
      assert.equal(await scene.tab.run(() => document.hidden), true);
      await scene.tab.run(() => footfall('early'));
      await pause(500);
      await scene.expect([]);
      await front.close();
      await until(5_000, () => 'the tab to show', () => scene.tab.run(() => !document.hidden));
      await scene.expect(['pageview /', 'custom early /']);
    },
  },
  {
    name: 'a tab put away and shown again: leaves whose times add up, one pageview',
    engines: ['chromium', 'firefox'],
    pages: { '/': '', '/front': { body: '', tag: null } },
    async run(scene) {
      await scene.visit('/');
      await pause(300);
      const front = await scene.open();
      await front.goto(scene.url('/front'));
      await scene.expect(['pageview /', 'leave /']);
      await front.close();
      await pause(1200);
      const again = await scene.open();
      await again.goto(scene.url('/front'));
      const rows = await scene.expect(['pageview /', 'leave /', 'leave /']);
      assert.equal(new Set(rows.map((row) => row.pageview_id)).size, 1);
      const engaged = rows.reduce((sum, row) => sum + Number(row.engaged_ms), 0);
      assert.ok(engaged >= 1400 && engaged < 20_000, `engaged ${engaged}`);
    },
  },
];
