// Pages with policies: CSP, Trusted Types, COEP, SRI, sandboxes, denied storage.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';

const csp = (policy) => ({ 'Content-Security-Policy': policy });
const NEXT = '<a id="next" href="two">two</a>';

// arrives: a pageview, a custom event and the leave, by this transport.
const arrives = (name, headers, { transport = /fetch|beacon/, tag, ...more } = {}) => ({
  name,
  ...more,
  pages: (scene) => ({
    '/': { body: NEXT, headers: headers(scene), tag: typeof tag === 'function' ? tag(scene) : tag },
    '/two': { tag: null },
  }),
  async run(scene) {
    await scene.visit('/');
    await scene.expect(['pageview /']);
    await scene.tab.run(() => footfall('here', { n: 1 }));
    await scene.expect(['pageview /', 'custom here /']);
    await scene.tab.run(() => { setTimeout(() => document.querySelector('#next').click()); });
    await scene.arrive('/two');
    // WebKit holds an image of a page that goes away to connect-src, as if it were a beacon.
    const left = scene.engine.name === 'webkit' && /pixel/.test(name) ? [] : ['leave /'];
    const rows = await scene.expect(['pageview /', 'custom here /', ...left]);
    for (const row of rows) assert.match(row.transport, transport);
    assert.deepEqual(rows[1].props, { n: 1 });
  },
});

const BLOCKED = "default-src 'none'; script-src 'nonce-n1'";

export default [
  arrives("CSP connect-src 'none': by pixel, each event once",
    (scene) => csp(`default-src 'self' data:; script-src ${scene.wire.origin}; img-src ${scene.wire.origin} data:; connect-src 'none'`),
    { transport: /^pixel$/ }),
  arrives("CSP img-src 'none'",
    (scene) => csp(`default-src 'none'; script-src ${scene.wire.origin}; connect-src ${scene.wire.origin}`)),
  arrives('CSP with a nonce for scripts',
    (scene) => csp(`default-src 'none'; script-src 'nonce-n1'; connect-src ${scene.wire.origin}`),
    { tag: { nonce: 'n1' } }),
  arrives("CSP 'strict-dynamic', Trusted Types required",
    (scene) => csp(`script-src 'nonce-n1' 'strict-dynamic'; object-src 'none'; base-uri 'none';
      require-trusted-types-for 'script'; trusted-types 'none'; connect-src ${scene.wire.origin}`.replace(/\s+/g, ' ')),
    { tag: { nonce: 'n1' } }),
  {
    name: 'CSP that blocks every way: nothing arrives, nothing breaks',
    pages: {
      '/': { headers: csp(BLOCKED), tag: { nonce: 'n1' }, head: `<script nonce="n1">window.problems = [];
        addEventListener('error', (e) => problems.push(e.message));
        addEventListener('unhandledrejection', (e) => problems.push(String(e.reason)));</script>` },
    },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.run(() => footfall('here'));
      await pause(500);
      await scene.expect([]);
      assert.deepEqual(await scene.tab.run(() => window.problems), []);
      assert.equal(await scene.tab.run(() => typeof footfall.set), 'function');
    },
  },
  arrives('COEP require-corp', () => ({
    'Cross-Origin-Embedder-Policy': 'require-corp', 'Cross-Origin-Opener-Policy': 'same-origin',
  })),
  arrives('COEP require-corp, by pixel', () => ({
    'Cross-Origin-Embedder-Policy': 'require-corp', ...csp("connect-src 'none'"),
  }), { transport: /^pixel$/ }),
  arrives('COEP credentialless', () => ({
    'Cross-Origin-Embedder-Policy': 'credentialless', 'Cross-Origin-Opener-Policy': 'same-origin',
  })),
  {
    name: 'SRI: the script as it is, and not another one',
    pages: (scene) => ({
      '/': (request, response) => scene.pinned(response, ''),
      '/other': (request, response) => scene.pinned(response, 'x'),
    }),
    async run(scene) {
      const body = Buffer.from(await (await fetch(`${scene.up.collector}/f.js`)).arrayBuffer());
      scene.pinned = (response, more) => {
        const integrity = `sha384-${createHash('sha384').update(body).update(more).digest('base64')}`;
        response.writeHead(200, { 'Content-Type': 'text/html' });
        response.end(`<!doctype html><link rel="icon" href="data:,"><script src="${scene.wire.origin}/f.js"
          integrity="${integrity}" crossorigin="anonymous" data-site="demo"></script>`);
      };
      await scene.visit('/other');
      assert.equal(await scene.tab.run(() => typeof window.footfall), 'undefined');
      await scene.visit('/');
      await scene.expect(['pageview /']);
    },
  },
  {
    name: 'SRI: the frozen file, which a cache may keep for ever',
    pages: { '/': (request, response, scene) => scene.frozen(response) },
    async run(scene) {
      const moving = await fetch(`${scene.up.collector}/f.js`);
      const [hash] = moving.headers.get('etag').match(/\w{16}/);
      const body = Buffer.from(await moving.arrayBuffer());
      scene.frozen = (response) => {
        response.writeHead(200, { 'Content-Type': 'text/html' });
        response.end(`<!doctype html><link rel="icon" href="data:,"><script src="${scene.wire.origin}/f.${hash}.js"
          integrity="sha384-${createHash('sha384').update(body).digest('base64')}" crossorigin="anonymous" data-site="demo"></script>`);
      };
      await scene.visit('/');
      await scene.expect(['pageview /']);
      const frozen = await fetch(`${scene.up.collector}/f.${hash}.js`);
      assert.match(frozen.headers.get('cache-control'), /immutable/);
      assert.equal(frozen.headers.get('content-encoding') ?? 'none', moving.headers.get('content-encoding') ?? 'none');
    },
  },
  {
    name: 'a sandboxed page, where storage throws, even with data-session',
    pages: { '/': { headers: csp('sandbox allow-scripts'), tag: { 'data-session': 'tab' } } },
    async run(scene) {
      await scene.visit('/');
      assert.equal(await scene.tab.run(() => {
        try { return typeof sessionStorage; } catch (denied) { return denied.name; }
      }), 'SecurityError');
      const [row] = await scene.expect(['pageview /']);
      assert.equal(row.session_id, null);
      await scene.tab.run(() => footfall.off());
    },
  },
];
