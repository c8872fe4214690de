// Ways into a page: tag managers, modules, frames, two tags, stubs, and what else is on the page.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { until } from '../lib.mjs';
import { library, recipe, tag } from '../scene.mjs';

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
    // What it does with a Custom HTML tag: its scripts are made anew, without their attributes.
    name: 'the recipe for Google Tag Manager, as that one inserts it',
    pages: (scene) => ({ '/': { tag: null, body: `<template id="custom">${
      recipe('var tag =', scene.wire.origin)}</template><script>addEventListener('load', () => {
        for (const theirs of document.querySelector('#custom').content.querySelectorAll('script')) {
          const script = document.createElement('script');
          script.text = theirs.text;
          document.body.append(script);
        }
      })</script>` } }),
    async run(scene) {
      await scene.visit('/');
      await scene.expect(['pageview /']);
    },
  },
  {
    name: 'the package in the entry file of a Vue app, imported as modules',
    pages: (scene) => {
      const script = (read) => (request, response) => {
        response.writeHead(200, { 'Content-Type': 'text/javascript' });
        response.end(read());
      };
      return {
        '/vue.js': script(() => library('vue/dist/vue.esm-browser.prod.js')),
        '/footfall.js': script(() => library('../../../snippet/npm/index.js')),
        '/': { tag: null, body: `<div id="app"></div>
          <script type="importmap">{"imports": {"vue": "./vue.js", "footfall": "./footfall.js"}}</script>
          <script type="module">
            import { createApp } from 'vue';
            import { init, footfall } from 'footfall';
            init({ site: 'demo', endpoint: '${scene.wire.origin}/e' });
            createApp({
              methods: { order() { footfall('order', { items: 2 }); history.pushState(null, '', 'done'); } },
              template: '<button id="order" @click="order">order</button>',
            }).mount('#app');
          </script>` },
      };
    },
    async run(scene) {
      await scene.visit('/');
      await scene.expect(['pageview /']);
      await scene.tab.click('#order');
      const rows = await scene.expect(['pageview /', 'custom order /', 'leave /', 'pageview /done']);
      assert.deepEqual(rows[1].props, { items: 2 });
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
  {
    name: 'inside a frame: nothing',
    pages: { '/': '<iframe src="inner"></iframe>', '/inner': 'inner' },
    async run(scene) {
      await scene.visit('/');
      await until(5_000, () => 'the inner script', () => scene.tab.run(() => typeof frames[0].footfall === 'function'));
      await pause(300);
      await scene.expect(['pageview /']);
    },
  },
  {
    name: 'a page of old libraries that patch prototypes',
    pages: { '/': { head: OLD } },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.run(() => footfall('kept', { text: 'a', number: 5, yes: true }));
      await scene.tab.run(() => history.pushState(null, '', 'two'));
      const rows = await scene.expect(['pageview /', 'custom kept /', 'leave /', 'pageview /two']);
      assert.deepEqual(rows[1].props, { text: 'a', number: 5, yes: true });
    },
  },
  {
    name: 'an element with the id "navigation", "history", "location"',
    pages: { '/': '<p id="navigation">n</p><p id="history">h</p><p id="footfall">f</p>' },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.run(() => history.pushState(null, '', 'two'));
      await scene.expect(['pageview /', 'leave /', 'pageview /two']);
    },
  },
  {
    name: 'a page of Vue that renders later and routes by itself',
    pages: {
      '/vue.js': (request, response) => {
        response.writeHead(200, { 'Content-Type': 'text/javascript' });
        response.end(library('vue/dist/vue.global.prod.js'));
      },
      '/': `<div id="app"></div><script src="vue.js"></script><script>
        Vue.createApp({
          data: () => ({ at: 'list' }),
          methods: { show() { this.at = 'item'; history.pushState(null, '', 'item'); document.title = 'Item'; } },
          template: '<h1>{{ at }}</h1><button id="show" data-event="show" @click.stop="show">show</button>',
        }).mount('#app');</script>`,
    },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.click('#show');
      const rows = await scene.expect(['pageview /', 'click show /', 'leave /', 'pageview /item']);
      assert.equal(rows[3].title, 'Item', 'the title that the router set after the URL');
    },
  },
];
