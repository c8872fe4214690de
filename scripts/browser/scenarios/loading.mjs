// Ways into a page: tag managers, modules, frames, two tags, stubs, and what else is on the page.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { until } from '../lib.mjs';
import { library, tag } from '../scene.mjs';

const STUB = '<script>window.footfall=window.footfall||function(){(footfall.q=footfall.q||[]).push(arguments)}</script>';

// Prototype.js 1.6 did the first two; the rest is what other old libraries leave behind.
const OLD = `<script>
  Array.prototype.toJSON = function () { return '[' + this.join(', ') + ']'; };
  String.prototype.toJSON = function () { return '"' + this + '"'; };
  Number.prototype.toJSON = function () { return 'n' + this; };
  Object.prototype.extended = function () {};
  Array.prototype.each = function () {};
  const push = history.pushState;
  history.pushState = function () { return push.apply(history, arguments); };
  window.Element.prototype.closest.old = true;
</script>`;

export default [
  {
    name: 'two tags, one count',
    pages: (scene) => ({ '/': { head: tag(scene), body: 'hello' } }),
    async run(scene) {
      await scene.visit('/');
      await pause(300);
      await scene.tab.run(() => footfall('once'));
      await scene.expect(['pageview /', 'custom once /']);
    },
  },
  {
    name: 'a tag that a tag manager inserts',
    pages: (scene) => ({ '/': { tag: null, body: `<script>
      const script = document.createElement('script');
      script.src = '${scene.wire.origin}/f.js';
      script.setAttribute('data-site', 'demo');
      document.head.append(script);</script>` } }),
    async run(scene) {
      await scene.visit('/');
      await scene.expect(['pageview /']);
    },
  },
  {
    name: 'a module, which has no currentScript',
    pages: { '/': { tag: { type: 'module', defer: null } } },
    async run(scene) {
      await scene.visit('/');
      await scene.expect(['pageview /']);
    },
  },
  {
    name: 'calls before the script has loaded are kept',
    pages: { '/': { head: `${STUB}<script>footfall('early', { n: 1 })</script>` } },
    async run(scene) {
      await scene.visit('/');
      const rows = await scene.expect(['custom early /', 'pageview /'], { ordered: false });
      assert.deepEqual(rows.find((row) => row.name === 'early').props, { n: 1 });
    },
  },
];
