// What the extensions add: how a page is used, vitals, one session over several hosts.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { until } from '../lib.mjs';
import { library } from '../scene.mjs';

const CAPTURE = { 'data-ext': 'capture' };

// loaded waits until an extension is there and has run: its file is asked for, and then the
// first batch has gone.
const loaded = (scene, name) => until(5_000, () => `the extension ${name}`, () =>
  scene.wire.log.some(({ path }) => path.startsWith(`/f-${name}.`)) && scene.wire.requests('/e').length > 0);

// custom returns the rows of one name, each as its props.
const custom = (rows, name) => rows.filter((row) => row.name === name).map(({ props }) => props);

export default [
  {
    name: 'capture: a click on a control, one that does nothing, and none on a word',
    pages: { '/': { tag: CAPTURE, body: `<p id="word">word</p>
      <div class="bar wide"><button type="button" id="alive">alive</button><button type="button" class="big dead">dead</button></div>
      <button type="button" id="named" data-event="named">named</button>
      <script>document.querySelector('#alive').onclick = ({ target }) => target.append('!')</script>` } },
    async run(scene) {
      await scene.visit('/');
      await loaded(scene, 'capture');
      for (const id of ['#word', '#alive', '#named', '.dead']) await scene.tab.click(id);
      const rows = await scene.expect(
        ['pageview /', 'custom click /', 'click named /', 'custom click /', 'custom dead_click /']);
      assert.deepEqual(custom(rows, 'click'), [{ selector: 'button#alive' }, { selector: 'body>div.bar>button.big' }]);
      assert.deepEqual(custom(rows, 'dead_click'), [{ selector: 'body>div.bar>button.big' }]);
    },
  },
  {
    name: 'capture: three clicks within a second are one rage, two are none',
    pages: { '/': { tag: CAPTURE, body: '<i id="hot">hot</i> <i id="calm">calm</i>' } },
    async run(scene) {
      await scene.visit('/');
      await loaded(scene, 'capture');
      const clicks = (id, n) => scene.tab.run((id, n) => {
        for (let i = 0; i < n; i++) document.querySelector(id).click();
      }, id, n);
      await clicks('#calm', 2);
      await clicks('#hot', 5);
      const rows = await scene.expect(['pageview /', 'custom rage_click /']);
      assert.deepEqual(custom(rows, 'rage_click'), [{ selector: 'i#hot' }]);
    },
  },
  {
    name: 'capture: errors and rejections that nobody caught, each once, ten at most',
    pages: { '/': { tag: CAPTURE, body: '<script src="broken.js"></script>' },
      '/broken.js': (request, response) => {
        response.writeHead(200, { 'Content-Type': 'text/javascript' });
        response.end('window.fail = (text) => {\n  setTimeout(() => { throw new TypeError(text); });\n};\n' +
          'window.reject = (text) => setTimeout(() => Promise.reject(text && new Error(text)));');
      } },
    async run(scene) {
      await scene.visit('/');
      await loaded(scene, 'capture');
      await scene.tab.run(() => { fail('no such thing'); fail('no such thing'); });
      await scene.tab.run(() => { reject('not kept'); });
      await scene.tab.run(() => { reject(); });
      await pause(300); // a rejection is told later than an error
      await scene.tab.run(() => { for (let i = 0; i < 20; i++) fail(`many ${i}`); });
      const rows = await scene.expect(['pageview /', ...Array(10).fill('custom error /')]);
      const errors = custom(rows, 'error');
      const thrown = errors.filter(({ message }) => /no such thing/.test(message));
      assert.deepEqual(thrown.map(({ file, line }) => [file, line]), [[scene.url('/broken.js'), 2]]);
      const said = errors.map(({ message }) => message);
      assert.ok(said.includes('not kept') && said.includes('undefined'), `${said}`);
    },
  },
  {
    name: 'capture: a copy is a number of characters, a print is a print',
    pages: { '/': { tag: CAPTURE, body: '<p id="text">secret words</p>' } },
    async run(scene) {
      await scene.visit('/');
      await loaded(scene, 'capture');
      await scene.tab.run(() => {
        getSelection().selectAllChildren(document.querySelector('#text'));
        document.dispatchEvent(new ClipboardEvent('copy', { bubbles: true }));
        dispatchEvent(new Event('beforeprint'));
      });
      const rows = await scene.expect(['pageview /', 'custom copy /', 'custom print /']);
      assert.deepEqual(custom(rows, 'copy'), [{ characters: 12 }]);
      assert.doesNotMatch(JSON.stringify([rows, scene.wire.events()]), /secret/);
    },
  },
  {
    name: 'capture: how long each field of a form had the focus, and not what was typed',
    pages: { '/': { tag: CAPTURE, body: `<form id="order"><input id="email" name="email"><input id="street" name="street">
      <button id="go">go</button></form><script>addEventListener('submit', (event) => event.preventDefault())</script>` } },
    async run(scene) {
      await scene.visit('/');
      await loaded(scene, 'capture');
      await scene.tab.type('#email', 'secret@example.org');
      await pause(400);
      await scene.tab.type('#street', '1 Secret Lane');
      await scene.tab.run(() => document.querySelector('form').requestSubmit());
      const rows = await scene.expect(['pageview /', 'form order /']);
      const { email, street } = rows[1].props.field_ms;
      assert.ok(email >= 400 && email < 60_000 && street >= 0, JSON.stringify(rows[1].props));
      assert.doesNotMatch(JSON.stringify([rows, scene.wire.events()]), /secret/i);
    },
  },
  {
    name: 'linker: one session over two hosts, and none for a host that is not listed',
    pages: (scene) => {
      const tag = { 'data-ext': 'linker', 'data-session': 'tab', 'data-link': '127.0.0.1' };
      const there = `${scene.abroad}${scene.folder}`;
      return {
        '/': { tag, body: `<a id="go" href="${there}/two?ref=one">go</a>` },
        '/two': { tag, body: '' },
        '/alone': { tag: { ...tag, 'data-link': 'elsewhere.example' }, body: `<a id="go" href="${there}/two">go</a>` },
      };
    },
    async run(scene) {
      await scene.visit('/');
      await scene.expect(['pageview /']);
      await loaded(scene, 'linker');
      await scene.tab.click('#go');
      await scene.arrive('/two');
      const [one, , leave, two] = await scene.expect(
        ['pageview /', 'click outbound /', 'leave /', 'pageview /two']);
      assert.equal(two.hostname, '127.0.0.1');
      assert.notEqual(one.hostname, two.hostname);
      assert.ok(one.session_id && one.session_id === two.session_id && one.session_id === leave.session_id,
        `${one.session_id}, ${leave.session_id}, ${two.session_id}`);
      assert.doesNotMatch(JSON.stringify([one, leave, two]), /_ff/, 'the session is no part of an address');

      scene.tab = await scene.open(); // with no session of before
      await scene.tab.goto(scene.url('/alone'));
      await until(5_000, () => 'the page', async () => (await scene.rows()).some(({ path }) => path.endsWith('/alone')));
      await scene.tab.click('#go');
      await scene.arrive('/two');
      await until(5_000, () => 'the other page', async () =>
        (await scene.rows()).filter(({ path, type }) => path.endsWith('/two') && type === 'pageview').length === 2);
      assert.doesNotMatch(await scene.tab.url(), /_ff/);
      await scene.accept();
      const views = (await scene.rows()).filter(({ type }) => type === 'pageview').slice(-2);
      assert.notEqual(views[0].session_id, views[1].session_id);
    },
  },
  {
    name: 'an extension under a nonce, strict-dynamic and Trusted Types',
    pages: (scene) => ({
      '/': {
        tag: { nonce: 'n1', 'data-ext': 'capture' },
        body: '<button type="button" id="b">b</button>',
        headers: { 'Content-Security-Policy': `script-src 'nonce-n1' 'strict-dynamic'; object-src 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'; connect-src ${scene.wire.origin}` },
      },
    }),
    async run(scene) {
      await scene.visit('/');
      await loaded(scene, 'capture');
      await scene.tab.click('#b');
      await scene.expect(['pageview /', 'custom click /', 'custom dead_click /']);
    },
  },
  {
    name: 'an extension that the collector does not have holds nothing up',
    pages: { '/': { tag: { 'data-ext': 'capture,nosuch' }, body: '<button type="button" id="b" data-event="b">b</button>' } },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.click('#b');
      await scene.expect(['pageview /', 'click b /']);
    },
  },
  {
    name: 'vitals agree with the library web-vitals in the same page',
    engines: ['chromium', 'firefox'],
    pages: {
      '/web-vitals.js': (request, response) => {
        response.writeHead(200, { 'Content-Type': 'text/javascript' });
        response.end(library('web-vitals/dist/web-vitals.iife.js'));
      },
      '/': {
        delay: 20, // so that there is a time to the first byte, whatever steps the clock has
        tag: { 'data-ext': 'vitals' },
        head: `<script src="web-vitals.js"></script><script>
          for (const name of ['TTFB', 'FCP', 'LCP', 'INP', 'CLS']) {
            webVitals['on' + name](({ value }) => { sessionStorage[name.toLowerCase()] = value; }, { reportAllChanges: true });
          }</script>`,
        body: `<p>small</p><div id="place"></div><p style="font-size:40px">words that move down</p>
          <button type="button" id="slow">slow</button> <a id="next" href="two">two</a><script>
          setTimeout(() => { document.querySelector('#place').innerHTML = '<h1 style="font-size:90px">the largest words of all</h1>'; }, 400);
          document.querySelector('#slow').onclick = () => { for (const end = performance.now() + 180; performance.now() < end;); };
          </script>`,
      },
      '/two': { tag: null },
    },
    async run(scene) {
      await scene.visit('/');
      await loaded(scene, 'vitals');
      await pause(700);
      for (let i = 0; i < 3; i++) {
        await scene.tab.click('#slow');
        await pause(300);
      }
      await scene.tab.click('#next');
      await scene.arrive('/two');
      const [, leave] = await scene.expect(['pageview /', 'leave /']);
      const theirs = await scene.tab.run(() => ({ ...sessionStorage }));
      const ours = leave.props;
      scene.t.diagnostic(`ours ${JSON.stringify(ours)}, theirs ${JSON.stringify(theirs)}`);
      // Ours are whole milliseconds and four digits; the clock of Event Timing has steps of 8 ms.
      const bounds = { ttfb: 1, fcp: 1, lcp: 1, inp: 8, cls: 0.0001 };
      if (scene.engine.name === 'firefox') delete bounds.cls; // it has no layout shifts
      for (const [name, bound] of Object.entries(bounds)) {
        const apart = Math.abs(ours[name] - theirs[name]);
        assert.ok(apart <= bound, `${name}: ours ${ours[name]}, theirs ${theirs[name]}, more than ${bound} apart`);
        assert.ok(ours[name] > 0, `${name} is ${ours[name]}: the page does something to each`);
      }
    },
  },
];
