// The extension later: the leave of a page that is killed while it is seen, and that nothing else
// is different.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { puppeteerTab } from '../engines.mjs';
import { chromium, until } from '../lib.mjs';

const LATER = { 'data-ext': 'later' };

// told makes a page remember its drafts.
const told = () => {
  window.drafts = [];
  footfall.use(({ before }) => before.push((event, drafted) => {
    if (drafted) drafts.push({ id: event.event_id, engaged: event.engaged_ms, path: location.pathname });
  }));
};

// drafted waits for so many drafts of the page at a path, and returns the last.
const drafted = (scene, path, n = 1) => until(20_000, () => `${n} drafts of ${path}`, async () => {
  const all = await scene.tab.run(() => drafts);
  return all.filter((draft) => draft.path === scene.folder + path)[n - 1];
});

// alone is a tab in a browser of its own, which may be hurt.
async function alone(scene) {
  const browser = await chromium(scene.t);
  scene.tab = puppeteerTab(await browser.newPage()); // the first one has no focus
  return browser;
}

// kill ends the browser's renderers as the system does that needs their memory.
async function kill(browser) {
  const session = await browser.target().createCDPSession();
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  for (const { type, id } of processInfo) if (type === 'renderer') process.kill(id, 'SIGKILL');
}

async function crash(tab) {
  const session = await tab.inner.createCDPSession();
  session.send('Page.crash').catch(() => {}); // nobody is left to answer
}

const sum = (rows) => rows.reduce((all, { engaged_ms: ms }) => all + Number(ms), 0);

const killed = [
  {
    name: 'later: a page whose renderer is killed has the leave that was drafted last',
    pages: { '/': { tag: LATER, body: 'hello' } },
    async run(scene) {
      const browser = await alone(scene);
      await scene.visit('/');
      await scene.tab.run(told);
      const draft = await drafted(scene, '/', 2);
      await pause(2_000);
      await scene.expect(['pageview /']);
      await kill(browser);
      const [view, leave] = await scene.expect(['pageview /', 'leave /']);
      await pause(1_000);
      await scene.expect(['pageview /', 'leave /']);
      assert.equal(leave.pageview_id, view.pageview_id);
      assert.equal(Number(leave.engaged_ms), Math.floor(draft.engaged));
      assert.ok(draft.engaged > 5_000, `engaged ${draft.engaged}`);
      assert.equal(leave.scroll_pct, 100);
      assert.equal(leave.event_id.replaceAll('-', ''), draft.id);
      assert.equal(leave.clock, 'client');
      assert.equal(leave.occurred_at.getTime(), parseInt(draft.id.slice(0, 12), 16), 'when it was drafted');
      assert.ok(leave.received_at - leave.occurred_at >= 2_000, 'and sent when the page was gone');
      const { headers } = scene.wire.log.find(({ events }) => events[0]?.type === 'leave');
      scene.t.diagnostic(JSON.stringify([draft.engaged, leave.received_at - leave.occurred_at, leave.transport, headers.origin]));
    },
  },
  {
    name: 'later: without it, a page that is killed has no leave',
    pages: { '/': 'hello' },
    async run(scene) {
      const browser = await alone(scene);
      await scene.visit('/');
      await scene.expect(['pageview /']);
      await pause(2_500);
      await kill(browser);
      await pause(1_500);
      await scene.expect(['pageview /']);
    },
  },
  {
    name: 'later: a route that crashes has its own leave, the one before its own',
    pages: { '/': { tag: LATER } },
    async run(scene) {
      await alone(scene);
      await scene.visit('/');
      await scene.tab.run(told);
      await drafted(scene, '/');
      await scene.tab.run(() => history.pushState(null, '', 'two'));
      const draft = await drafted(scene, '/two');
      await scene.expect(['pageview /', 'leave /', 'pageview /two']);
      await crash(scene.tab);
      const rows = await scene.expect(['pageview /', 'leave /', 'pageview /two', 'leave /two']);
      assert.equal(rows[3].pageview_id, rows[2].pageview_id);
      assert.equal(Number(rows[3].engaged_ms), Math.floor(draft.engaged));
      assert.ok(draft.engaged > 500, `engaged ${draft.engaged}`);
    },
  },
  {
    name: 'later: consent that was taken back takes the draft with it',
    pages: { '/': { tag: LATER } },
    async run(scene) {
      await alone(scene);
      await scene.visit('/');
      await scene.tab.run(told);
      await drafted(scene, '/');
      await scene.expect(['pageview /']);
      await scene.tab.run(() => footfall.consent('no'));
      await crash(scene.tab);
      await pause(1_500);
      await scene.expect(['pageview /']);
    },
  },
  {
    name: 'later: a page that may not defer leaves as it does without',
    pages: { '/': { tag: LATER, headers: { 'Permissions-Policy': 'deferred-fetch=()' } }, '/two': { tag: null } },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.run(told);
      await drafted(scene, '/');
      await scene.tab.goto(scene.url('/two'));
      await scene.expect(['pageview /', 'leave /']);
    },
  },
  {
    name: 'later: a draft does not end what vitals measures',
    pages: {
      '/': { tag: { 'data-ext': 'later,vitals' }, body: '<p>small</p><div id="place"></div>' },
      '/two': { tag: null },
    },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.run(told);
      await drafted(scene, '/');
      const since = await scene.tab.run(() => {
        document.querySelector('#place').innerHTML = '<h1 style="font-size:90px">the largest words of all</h1>';
        return performance.now();
      });
      await pause(500);
      await scene.tab.goto(scene.url('/two'));
      const [, leave] = await scene.expect(['pageview /', 'leave /']);
      assert.ok(leave.props.lcp >= Math.floor(since), `lcp ${leave.props.lcp}, painted after ${since}`);
    },
  },
].map((scenario) => ({ ...scenario, engines: ['chromium'] }));

// noted are the drafts that a page has made: some in Chromium, none elsewhere.
async function noted(scene) {
  const drafts = await scene.tab.run(() => window.drafts.length);
  assert.equal(drafts > 0, scene.engine.name === 'chromium', `${drafts} drafts`);
}

export default [
  ...killed,
  {
    name: 'later: a usual visit is as it is without',
    pages: { '/': { tag: LATER, body: '<a id="next" href="two">two</a>' }, '/two': { tag: null } },
    async run(scene) {
      const began = Date.now();
      await scene.visit('/');
      await scene.tab.run(told);
      await pause(3_500);
      await noted(scene);
      await scene.tab.click('#next');
      await scene.arrive('/two');
      const ended = Date.now();
      const rows = await scene.expect(['pageview /', 'leave /']);
      assert.ok(sum(rows) >= 3_000 && sum(rows) <= ended - began, `${sum(rows)} of ${ended - began} ms`);
      await scene.tab.close();
      await pause(1_000);
      await scene.expect(['pageview /', 'leave /']);
    },
  },
  {
    name: 'later: routes, whose times add up',
    pages: { '/': { tag: LATER }, '/end': { tag: null } },
    async run(scene) {
      const began = Date.now();
      await scene.visit('/');
      await scene.tab.run(told);
      await pause(3_000);
      await scene.tab.run(() => history.pushState(null, '', 'two'));
      await pause(3_000);
      await noted(scene);
      await scene.tab.goto(scene.url('/end'));
      const ended = Date.now();
      const rows = await scene.expect(['pageview /', 'leave /', 'pageview /two', 'leave /two']);
      assert.ok(sum(rows) >= 5_500 && sum(rows) <= ended - began, `${sum(rows)} of ${ended - began} ms`);
      assert.equal(rows[3].pageview_id, rows[2].pageview_id);
      await scene.tab.close();
      await pause(1_000);
      await scene.expect(['pageview /', 'leave /', 'pageview /two', 'leave /two']);
    },
  },
  {
    name: 'later: out of the back/forward cache, each view has its one leave',
    pages: {
      '/': { tag: LATER, body: `<a id="next" href="two">two</a>
        <script>addEventListener('pageshow', (event) => { window.restored = event.persisted; })</script>` },
      '/two': { tag: null },
    },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.run(told);
      await pause(3_000);
      await noted(scene);
      await scene.tab.click('#next');
      await scene.arrive('/two');
      await scene.expect(['pageview /', 'leave /']);
      await scene.tab.back();
      await scene.arrive('/');
      assert.equal(await scene.tab.run(() => window.restored), true, 'the page was in the cache');
      await scene.expect(['pageview /', 'leave /', 'pageview /']);
      const before = await scene.tab.run(() => drafts.splice(0).length);
      await pause(2_500);
      if (before) await noted(scene);
      await scene.tab.click('#next');
      await scene.arrive('/two');
      const rows = await scene.expect(['pageview /', 'leave /', 'pageview /', 'leave /']);
      assert.equal(rows[3].pageview_id, rows[2].pageview_id);
      await scene.tab.close();
      await pause(1_000);
      await scene.expect(['pageview /', 'leave /', 'pageview /', 'leave /']);
    },
  },
];
