// Pages that Chromium prepares before somebody asks for them.
import { setTimeout as pause } from 'node:timers/promises';
import { until } from '../lib.mjs';

const SOON = `<script type="speculationrules">
  {"prerender": [{"urls": ["two"], "eagerness": "immediate"}]}</script>`;

// The page is served and has run its script, but nobody sees it.
async function prepared(scene) {
  await until(10_000, () => 'the prerendered page to run', () => scene.prepared);
  await pause(300);
}

const pages = () => ({
  '/': { head: SOON, body: '<a id="next" href="two">two</a>' },
  '/two': { body: 'two', head: `<script>
    if (document.prerendering) {
      document.addEventListener('prerenderingchange', () => fetch('seen'));
      fetch('ran');
    }</script>` },
  '/ran': (request, response, scene) => { scene.prepared = true; response.writeHead(204).end(); },
  '/seen': (request, response, scene) => { scene.seen = true; response.writeHead(204).end(); },
});

export const waitsForActivation = [
  {
    name: 'a page that is prerendered and never seen is nothing',
    pages,
    async run(scene) {
      await scene.visit('/');
      await prepared(scene);
      await scene.expect(['pageview /']);
    },
  },
  {
    name: 'a prerendered page is a pageview when it is seen',
    pages,
    async run(scene) {
      await scene.visit('/');
      await prepared(scene);
      // The page tells by itself: its driver loses the tab when it changes pages.
      await scene.tab.run(() => { setTimeout(() => document.querySelector('#next').click()); });
      await until(10_000, () => 'the prerendered page to be seen', () => scene.seen);
      await scene.expect(['pageview /', 'leave /', 'pageview /two'], { ordered: false });
    },
  },
];
