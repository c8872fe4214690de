// Web vitals of each pageview: of the load, of a return from the back/forward cache, of a route.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { until } from '../lib.mjs';

const VITALS = { 'data-ext': 'vitals' };
// busy is a page whose button holds it up for so long.
const busy = (ms) => `<h1>${'words '.repeat(40)}</h1><button id="b">busy</button><a id="next" href="two">two</a>
  <script>
    document.querySelector('#b').onclick = () => { for (const end = performance.now() + ${ms}; performance.now() < end;); };
  </script>`;
const SLOW = busy(120);

// What an engine of today measures of a load.
const OF_LOAD = {
  chromium: ['ttfb', 'fcp', 'lcp', 'inp', 'cls'],
  firefox: ['ttfb', 'fcp', 'lcp', 'inp'],
  webkit: ['ttfb', 'fcp'],
};

const loaded = (scene) => until(5_000, () => 'the extension', () =>
  scene.wire.log.some(({ path, status }) => /f-vitals/.test(path) && status === 200));
const leaves = (rows) => rows.filter((row) => row.type === 'leave').map((row) => row.props ?? {});
const settle = () => pause(400); // paints and event timings come a little later

export default [
  {
    name: 'vitals of a load, with a slow interaction',
    // A server that answers within a millisecond has none to its first byte, by Firefox's clock.
    pages: { '/': { body: SLOW, tag: VITALS, delay: 20 }, '/two': { tag: null } },
    async run(scene) {
      await scene.visit('/');
      await loaded(scene);
      await scene.expect(['pageview /']);
      await settle();
      await scene.tab.click('#b');
      await settle();
      const paint = await scene.tab.run(() => performance.getEntriesByType('paint').find(({ name }) => name === 'first-contentful-paint').startTime);
      await scene.tab.click('#next');
      await scene.arrive('/two');
      const [props] = leaves(await scene.expect(['pageview /', 'leave /']));
      assert.deepEqual(Object.keys(props).sort(), [...OF_LOAD[scene.engine.name]].sort());
      assert.ok(Math.abs(props.fcp - paint) <= 1, `${props.fcp} for ${paint}`);
      assert.ok(props.ttfb > 0 && props.ttfb <= props.fcp, `${props.ttfb}, then ${props.fcp}`);
      if (props.lcp !== undefined) assert.ok(props.lcp >= props.fcp);
      if (props.inp !== undefined) assert.ok(props.inp >= 120 && props.inp < 1_000, `inp ${props.inp}`);
    },
  },
  {
    name: 'vitals of a page out of the back/forward cache: its own, not those of the load',
    pages: {
      // So slow that no other click of the page comes near it, whatever else the machine does.
      '/': { body: `${busy(1_500)}<script>addEventListener('pageshow', (e) => { window.back = e.persisted; });</script>`, tag: VITALS },
      '/two': { tag: null },
    },
    async run(scene) {
      await scene.visit('/');
      await loaded(scene);
      await settle();
      await scene.tab.click('#b');
      await settle();
      await scene.tab.click('#next');
      await scene.arrive('/two');
      await scene.expect(['pageview /', 'leave /']);
      await scene.tab.back();
      await scene.arrive('/');
      assert.equal(await scene.tab.run(() => window.back), true, 'out of the cache');
      await scene.expect(['pageview /', 'leave /', 'pageview /']);
      await settle();
      await scene.tab.click('#next');
      await scene.arrive('/two');
      const [load, back] = leaves(await scene.expect(['pageview /', 'leave /', 'pageview /', 'leave /']));
      assert.equal(back.ttfb, undefined);
      assert.ok(back.fcp > 0 && back.fcp < 1_000, `back after ${back.fcp} ms`);
      assert.equal(back.lcp, back.fcp);
      assert.ok(load.fcp > 0);
      if (load.inp) assert.ok(load.inp >= 1_500 && !(back.inp >= 1_500), `inp ${load.inp}, then ${back.inp}`);
    },
  },
  {
    name: 'vitals of a route: where the browser knows soft navigations, from the interaction on',
    pages: {
      '/': { tag: VITALS, body: `<h1>shop</h1><button id="go">go</button><div id="app"></div><script>
        document.querySelector('#go').onclick = () => setTimeout(() => {
          history.pushState(null, '', 'item');
          document.querySelector('#app').innerHTML = '<h2>${'A new page. '.repeat(40)}</h2>';
        }, 150);</script>` },
      '/two': { tag: null },
    },
    async run(scene) {
      await scene.visit('/');
      await loaded(scene);
      await settle();
      await scene.tab.click('#go');
      await scene.expect(['pageview /', 'leave /', 'pageview /item']);
      await settle();
      await scene.tab.goto(scene.url('/two'));
      const [, route] = leaves(await scene.expect(['pageview /', 'leave /', 'pageview /item', 'leave /item']));
      assert.equal(route.ttfb, undefined);
      if (scene.engine.name === 'chromium') {
        assert.ok(route.fcp >= 150 && route.fcp < 1_500, `fcp ${route.fcp}`);
        assert.ok(route.lcp >= 150 && route.lcp < 1_500, `lcp ${route.lcp}`);
      } else assert.deepEqual([route.fcp, route.lcp], [undefined, undefined]);
    },
  },
  {
    name: 'vitals of pages that wait for consent are of their own page each',
    engines: ['chromium'],
    pages: { '/': { tag: { ...VITALS, 'data-consent': 'wait' }, body: SLOW }, '/two': { tag: null } },
    async run(scene) {
      await scene.visit('/');
      await loaded(scene);
      await settle();
      await scene.tab.click('#b');
      await settle();
      await scene.tab.run(() => history.pushState(null, '', 'calm'));
      await settle();
      // A shift of the second page: what was there moves down.
      await scene.tab.run(() => { document.body.style.paddingTop = '300px'; });
      await settle();
      await scene.tab.run(() => { history.pushState(null, '', 'end'); footfall.consent('yes'); });
      const [first, second] = leaves(await scene.expect(
        ['pageview /', 'leave /', 'pageview /calm', 'leave /calm', 'pageview /end']));
      assert.ok(first.inp >= 120 && first.cls < 0.05, JSON.stringify(first));
      assert.ok(second.inp === undefined && second.cls > 0.05, JSON.stringify(second));
      assert.ok(first.lcp > 0 && second.lcp === undefined);
    },
  },
];
