// What stays in the browser, and what leaves it.
//
// Never a field's value, never a typed text: secrets are typed into every kind of field, with
// every extension at work, and no byte that was sent has one.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { until } from '../lib.mjs';

const EXTENSIONS = ['capture', 'vitals', 'outbox', 'later', 'linker'];
const ALL = { 'data-ext': EXTENSIONS.join(), 'data-session': 'tab' };

// Of each type what a visitor could put there. `hunter` is in every text, and the numbers and
// dates are ones that stand nowhere else.
const TYPED = {
  text: 'hunter-text', password: 'hunter-password', search: 'hunter-search', email: 'hunter@mail.example',
  url: 'https://hunter.example/url', tel: 'hunter-1', number: '86753091', hidden: 'hunter-hidden',
  date: '1937-05-11', month: '1937-05', week: '1937-W19', time: '04:37:11', 'datetime-local': '1937-05-11T04:37',
  color: '#a1b2c7', range: '73.91357',
};
const SECRETS = /hunter|86753091|1937|04:37|a1b2c7|73\.91357|4111/i;

const fields = Object.keys(TYPED)
  .map((type) => `<label>${type} <input type="${type}" name="f-${type}" id="i-${type}" max="100" step="any"></label>`)
  .join('');

const PAGE = `<form id="order" action="taken" method="post" novalidate>${fields}
    <input name="card" autocomplete="cc-number" id="card"><input name="keyed" id="keyed">
    <input type="checkbox" name="box" value="hunter-box" id="box">
    <input type="radio" name="radio" value="hunter-radio" id="radio">
    <select name="choice" id="choice"><option>-</option><option value="hunter-value">hunter-option</option></select>
    <textarea name="words" id="words"></textarea><output id="output"></output>
    <input list="list" name="listed" id="listed"><datalist id="list"><option value="hunter-listed"></datalist>
    <button id="go">go</button></form>
  <div id="edit" contenteditable="true">.</div>
  <div id="host"></div>
  <a id="self" href="#x">link</a>
  <script>
    const root = document.querySelector('#host').attachShadow({ mode: 'open' });
    root.innerHTML = '<form id="inner"><input id="shadow" name="shadow"><button id="send">send</button></form>';
    addEventListener('submit', (event) => event.preventDefault(), true);
    root.addEventListener('submit', (event) => event.preventDefault(), true);
    // What careless pages do with a value: each is an error whose message has it.
    document.querySelector('#words').addEventListener('input', ({ target }) => {
      for (const use of [JSON.parse, BigInt, (text) => new URL(text), (text) => document.querySelector(text + '>>'),
        (text) => { throw new Error('bad word ' + text); }, (text) => { throw text; }]) {
        setTimeout(() => use(target.value));
      }
      Promise.reject(target.value);
      Promise.reject(new Error('refused: ' + target.value));
    });
  </script>`;

// fill does what no key press can: pickers, managers of passwords and the browser's own memory.
const fill = (typed) => {
  const set = (el, value) => {
    el.focus();
    el.value = value;
    for (const type of ['input', 'change']) el.dispatchEvent(new Event(type, { bubbles: true, composed: true }));
  };
  for (const [type, value] of Object.entries(typed)) set(document.querySelector(`#i-${type}`), value);
  set(document.querySelector('#card'), '4111 1111 1111 1111');
  set(document.querySelector('#listed'), 'hunter-listed');
  set(document.querySelector('#choice'), 'hunter-value');
  set(document.querySelector('#words'), '{hunter-words');
  document.querySelector('#output').textContent = 'hunter-output';
  document.querySelector('#edit').append('hunter-edited');
  const shadow = document.querySelector('#host').shadowRoot;
  set(shadow.querySelector('#shadow'), 'hunter-shadow');
  getSelection().selectAllChildren(document.querySelector('#edit'));
  document.dispatchEvent(new ClipboardEvent('copy', { bubbles: true }));
  shadow.querySelector('form').requestSubmit();
};

// everything that a request says: its line, its headers and its body, also decoded.
const said = ({ wire }) => wire.log
  .map((entry) => [entry.path, JSON.stringify(entry.query), JSON.stringify(entry.headers), `${entry.body}`].join('\n'))
  .join('\n');

// Ids, hashes, ports and times have digits by chance, sometimes those of a secret.
const CHANCE = /[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}|\.[0-9a-f]{8,16}\.js|:\d{4,5}(?=[/"\\])|\b1\d{12}\b/g;

const silent = (scene, rows) => {
  const all = (said(scene) + JSON.stringify(rows)).replace(CHANCE, '~');
  const found = all.match(SECRETS);
  assert.ok(!found, `${found?.[0]} was sent: …${all.slice(Math.max(0, found?.index - 120), found?.index + 60)}…`);
};

const scenario = (name, headers) => ({
  name,
  pages: (scene) => ({ '/': { body: PAGE, tag: ALL, headers: headers(scene) }, '/two': { tag: null } }),
  async run(scene) {
    await scene.visit('/');
    await until(10_000, () => 'the extensions', () => EXTENSIONS.every((ext) =>
      scene.wire.log.some(({ path }) => path.startsWith(`/f-${ext}.`))));
    await until(10_000, () => 'the pageview', async () => (await scene.rows()).length > 0);
    await scene.tab.type('#i-password', 'hunter-keys');
    await scene.tab.type('#keyed', 'hunter-keys');
    await scene.tab.type('#edit', 'hunter-keys');
    await scene.tab.run(fill, TYPED);
    for (const id of ['#box', '#radio', '#edit', '#self', '#go']) {
      await scene.tab.run((id) => document.querySelector(id).click(), id);
    }
    await scene.tab.run(() => { for (let i = 0; i < 3; i++) document.querySelector('#edit').click(); });
    await pause(2_000); // dead clicks, and rows
    await scene.tab.goto(scene.url('/two'));
    const has = (rows, type, name) => rows.some((row) => row.type === type && (!name || row.name === name));
    const wanted = (rows) => has(rows, 'form', 'order') && has(rows, 'form', 'inner') && has(rows, 'custom', 'error')
      && has(rows, 'custom', 'copy') && has(rows, 'custom', 'rage_click') && has(rows, 'custom', 'click');
    let rows;
    await until(10_000, () => `the events; there are ${rows.map((row) => [row.type, row.name])}`, async () =>
      wanted(rows = await scene.rows()));
    await scene.wire.quiet();
    silent(scene, await scene.rows());
    const { field_ms: times } = rows.find((row) => row.name === 'order').props;
    assert.ok(times.keyed >= 0 && times['f-password'] >= 0, 'the fields are named, and timed');
    await scene.accept();
  },
});

// stored is all that a page can keep in the browser. What others of this origin keep is theirs.
const stored = async () => {
  const databases = indexedDB.databases ? await indexedDB.databases() : [];
  const ours = (storage) => Object.keys(storage).filter((key) => key.startsWith('footfall') && key !== 'footfall_off');
  return {
    cookies: document.cookie, local: ours(localStorage), session: Object.keys(sessionStorage),
    databases: databases.map(({ name }) => name), caches: window.caches ? await caches.keys() : [],
    workers: navigator.serviceWorker ? (await navigator.serviceWorker.getRegistrations()).length : 0,
    name: window.name,
  };
};
const NOTHING = { cookies: '', local: [], session: [], databases: [], caches: [], workers: 0, name: '' };

// The table of snippet/README.md: a switch, where it lets the snippet store, under which key.
const README = readFileSync(new URL('../../../snippet/README.md', import.meta.url), 'utf8');
const TABLE = [...README.matchAll(/^\| `(data-\w+)="(\w+)"` \| (\w+)Storage \| `([^`]+)` \|/gm)]
  .map(([, attribute, value, storage, key]) => ({ attribute, value, storage, key }));
const ALONE = TABLE.map(({ attribute, value }) => ({ [attribute]: value }));

// With these switches exactly what the table says is stored: by a page that cannot reach the
// collector, and does all there is to do.
const keeps = (tag) => ({
  name: `stored with ${Object.entries(tag).map((pair) => pair.join('=')).join(' ') || 'no switch'}`,
  pages: { '/': { body: PAGE, tag } },
  async run(scene) {
    scene.wire.answer = ({ path }) => (path === '/e' ? { status: 503 } : undefined);
    await scene.visit('/');
    await until(10_000, () => 'a try', () => scene.wire.requests('/e').length > 1);
    await scene.tab.run(fill, TYPED);
    await scene.tab.run(() => { footfall('here'); footfall.identify('u7'); footfall.set({ plan: 'pro' }); });
    await pause(300);
    const found = await scene.tab.run(stored);
    const allowed = TABLE.filter(({ attribute, value }) => tag[attribute]?.split(',').includes(value))
      .map(({ storage, key }) => `${storage} ${key}`);
    const kinds = (storage) => found[storage].map((key) => `${storage} ${key.replace(/ demo [\da-f-]+$/, ' SITE ID')}`);
    assert.deepEqual([...new Set([...kinds('session'), ...kinds('local')])].sort(), allowed.sort());
    assert.deepEqual({ ...found, local: [], session: [] }, NOTHING);
    assert.deepEqual(scene.wire.log.filter((entry) => entry.headers.cookie), []);
    await scene.tab.run(() => footfall.consent('no'));
    assert.deepEqual(await scene.tab.run(stored), NOTHING, 'consent("no") leaves nothing');
    scene.wire.answer = () => {};
    await scene.expect([]);
  },
});

const twice = () => {
  let n = 0;
  return ({ path }) => (path === '/e' && n++ < 2 ? { status: 503 } : undefined);
};

export default [
  keeps({}),
  keeps({ 'data-ext': 'capture,vitals,later,linker' }),
  ...ALONE.map(keeps),
  keeps({ 'data-ext': EXTENSIONS.join(), 'data-session': 'tab' }),
  scenario('secrets in every kind of field: none is sent', () => ({})),
  scenario('secrets in every kind of field: none is sent by pixel', (scene) => ({
    'Content-Security-Policy': `connect-src 'none'; img-src ${scene.wire.origin} data:` })),
  {
    ...scenario('secrets in every kind of field: none is on the disk', () => ({})),
    async run(scene) {
      scene.wire.answer = twice();
      await scene.visit('/');
      await until(10_000, () => 'the outbox', async () =>
        (await scene.tab.run(() => Object.keys(localStorage))).some((key) => key.startsWith('footfall ')));
      await scene.tab.run(fill, TYPED);
      const disk = async () => JSON.stringify(await scene.tab.run(() => ({ ...localStorage, ...sessionStorage })));
      assert.doesNotMatch(await disk(), SECRETS);
      await until(15_000, () => 'the rows', async () => (await scene.rows()).some((row) => row.name === 'inner'));
      assert.doesNotMatch(await disk(), SECRETS);
      silent(scene, await scene.rows());
      await scene.accept();
    },
  },
];
