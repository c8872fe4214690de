// The counting rules as switches of a site: each site's own file, built by the collector from
// its settings. SITES are the sites of the stage, by name, beside demo with the defaults.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { until } from '../lib.mjs';

export const SITES = {
  bare: { snippet: { spa: false, bfcache: false, leave: false, clicks: false, forms: false } },
  some: { snippet: { replace: false, query: false, outbound: false, download: false, contact: false, fields: false } },
  all: { snippet: { hash: true, frames: true, unseen: true, focus: false } },
  manual: { snippet: { auto: false } },
  open: { gpc: false },
  strict: { dnt: true },
};

// own is the tag of a site with its own file.
const own = (scene, site) => ({ src: `${scene.wire.origin}/f.${site}.js`, 'data-site': site });
const claim = (name, value) =>
  `<script>Object.defineProperty(Navigator.prototype, '${name}', { get: () => ${value}, configurable: true })</script>`;
const STAY = `<script>for (const type of ['click', 'submit'])
  addEventListener(type, (event) => event.preventDefault())</script>`;
const push = (url) => history.pushState(null, '', url);
const replace = (url) => history.replaceState(null, '', url);
const PARTS = `<a id="out" href="http://127.0.0.1:9/">out</a> <a id="pdf" href="a.pdf">pdf</a>
  <a id="mail" href="mailto:a@b.example">mail</a> <button type="button" id="play" data-event="play">play</button>
  <form id="order"><input id="email" name="email"><button id="go">go</button></form>`;

export default [
  {
    name: 'spa, bfcache, leave, clicks and forms off: a load is a pageview, and that is all',
    pages: (scene) => ({
      '/': { tag: own(scene, 'bare'), body: `${STAY}${PARTS}` },
      '/next': { tag: null, body: 'next' },
    }),
    async run(scene) {
      await scene.visit('/');
      await scene.expect(['pageview /']);
      for (const id of ['#out', '#play', '#go']) await scene.tab.click(id);
      await scene.tab.run(push, 'two');
      await scene.tab.run(replace, 'three');
      await scene.tab.goto(scene.url('/next'));
      await scene.tab.back();
      await scene.arrive('/three');
      await scene.tab.run(() => footfall('called'));
      const [view, called] = await scene.expect(['pageview /', 'custom called /']);
      assert.equal(view.site, 'bare');
      assert.equal(called.pageview_id, view.pageview_id);
    },
  },
  {
    name: 'replace, query, outbound, download, contact and fields off: each alone, the others stay',
    pages: (scene) => ({ '/': { tag: own(scene, 'some'), body: `${STAY}${PARTS}` }, '/next': { tag: null } }),
    async run(scene) {
      await scene.visit('/');
      await scene.tab.run(replace, 'replaced');
      await scene.tab.run(push, '?ref=query');
      for (const id of ['#out', '#pdf', '#mail', '#play']) await scene.tab.click(id);
      await scene.tab.type('#email', 'secret');
      await scene.tab.run(push, 'pushed');
      const rows = await scene.expect(['pageview /', 'click play /', 'leave /', 'pageview /pushed']);
      assert.equal(rows[2].props, null, 'no field is named');
    },
  },
  {
    name: 'replace off: an address that was replaced is counted with the next push, not before',
    pages: (scene) => ({ '/': { tag: own(scene, 'some') } }),
    async run(scene) {
      await scene.visit('/');
      await scene.tab.run(replace, 'replaced');
      await scene.expect(['pageview /']);
      await scene.tab.run(push, 'pushed');
      await scene.expect(['pageview /', 'leave /', 'pageview /pushed']);
    },
  },
  {
    name: 'hash on: a fragment is a page, by link and by script, once each',
    pages: (scene) => ({ '/': { tag: own(scene, 'all'), body: '<a id="cart" href="#/cart">cart</a>' } }),
    async run(scene) {
      await scene.visit('/#/list');
      await scene.expect(['pageview /list']);
      await scene.tab.click('#cart');
      await scene.tab.run(() => { location.hash = '#/pay'; });
      await scene.expect(
        ['pageview /list', 'leave /list', 'pageview /cart', 'leave /cart', 'pageview /pay']);
    },
  },
  {
    name: 'frames on: the page and the frame in it',
    pages: (scene) => ({
      '/': { tag: own(scene, 'all'), body: '<iframe src="inner"></iframe>' },
      '/inner': { tag: own(scene, 'all') },
    }),
    async run(scene) {
      await scene.visit('/');
      await scene.expect(['pageview /', 'pageview /inner'], { ordered: false });
    },
  },
  {
    name: 'unseen on: a tab behind another is counted at once',
    engines: ['chromium', 'firefox'],
    pages: (scene) => ({ '/': { tag: own(scene, 'all') }, '/front': { tag: null } }),
    async run(scene) {
      scene.tab = await scene.open();
      const front = await scene.open();
      await front.goto(scene.url('/front'));
      await scene.visit('/');
      assert.equal(await scene.tab.run(() => document.hidden), true);
      await scene.expect(['pageview /']);
    },
  },
  {
    name: 'auto off: a pageview when it is called, with what it is given',
    pages: (scene) => ({ '/': { tag: own(scene, 'manual') } }),
    async run(scene) {
      await scene.visit('/');
      await scene.tab.run(push, 'two');
      await pause(300);
      await scene.expect([]);
      await scene.tab.run(() => footfall.page({ step: 'shipping' }));
      const [row] = await scene.expect(['pageview /two']);
      assert.deepEqual(row.props, { step: 'shipping' });
    },
  },
  {
    name: 'gpc off: Global Privacy Control does not silence this site',
    pages: (scene) => ({ '/': { tag: own(scene, 'open'), head: claim('globalPrivacyControl', true) } }),
    async run(scene) {
      await scene.visit('/');
      const [row] = await scene.expect(['pageview /']);
      assert.ok(row.visitor_id);
    },
  },
  {
    name: 'dnt on: Do Not Track silences this site',
    pages: (scene) => ({ '/': { tag: own(scene, 'strict'), head: claim('doNotTrack', '"1"') } }),
    async run(scene) {
      await scene.visit('/');
      await until(5_000, () => 'the script', () => scene.tab.run(() => typeof window.footfall === 'function'));
      await scene.tab.run(() => footfall('here'));
      await pause(700);
      await scene.expect([]);
      assert.deepEqual(scene.wire.log.map(({ path }) => path), ['/f.strict.js']);
    },
  },
];
