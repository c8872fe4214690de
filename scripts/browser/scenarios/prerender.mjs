// Pages that Chromium prepares before somebody asks for them.
import assert from 'node:assert/strict';
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
  '/two': { body: 'two', head: '<script>if (document.prerendering) fetch("ran")</script>' },
  '/ran': (request, response, scene) => { scene.prepared = true; response.writeHead(204).end(); },
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
      await scene.tab.click('#next');
      await scene.arrive('/two');
      const { activationStart } = await scene.tab.run(() =>
        performance.getEntriesByType('navigation')[0].toJSON());
      assert.ok(activationStart > 0, 'it was the prerendered page');
      await scene.expect(['pageview /', 'leave /', 'pageview /two'], { ordered: false });
    },
  },
];
