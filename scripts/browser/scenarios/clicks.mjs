// What a click is: links that leave, downloads, marked elements, and nothing besides.
import assert from 'node:assert/strict';
import { until } from '../lib.mjs';

const away = (scene) => `${scene.abroad}${scene.folder}/away`;
const nothing = (request, response) => { response.writeHead(204).end(); };
// The page keeps the browser from following, as its own handlers may; the snippet does not see it.
const STAY = `<script>for (const type of ['click', 'auxclick'])
  addEventListener(type, (event) => event.preventDefault())</script>`;

export default [
  {
    name: 'a click on a link to another host',
    pages: (scene) => ({
      '/': `<a id="out" href="${away(scene)}?token=secret#x">the <b id="in">word</b></a>`,
      '/away': { tag: null },
    }),
    async run(scene) {
      await scene.visit('/');
      await scene.tab.click('#in');
      await until(5_000, () => 'the other host', async () => (await scene.tab.url()).startsWith(away(scene)));
      const rows = await scene.expect(['pageview /', 'click outbound /', 'leave /']);
      assert.equal(rows[1].props.href, away(scene), 'without its query and fragment');
      assert.equal(rows[1].props.text, 'the word');
      assert.equal(rows[1].pageview_id, rows[0].pageview_id);
    },
  },
  {
    name: 'a middle click, and no event for the right button',
    pages: (scene) => ({ '/': `${STAY}<a id="out" href="${away(scene)}">out</a>` }),
    async run(scene) {
      await scene.visit('/');
      await scene.tab.click('#out', { button: 'middle' });
      await scene.tab.run(() => document.querySelector('#out').dispatchEvent(
        new PointerEvent('auxclick', { button: 2, bubbles: true, composed: true, cancelable: true })));
      await scene.expect(['pageview /', 'click outbound /']);
    },
  },
  {
    name: 'downloads: by extension, by attribute, by query',
    pages: {
      '/': `<a id="a" href="files/report.pdf">a</a> <a id="b" href="files/report" download>b</a>
        <a id="c" href="get?file=report.zip">c</a> <a id="d" href="get?file=report">no download</a>`,
      '/files/report.pdf': nothing, '/files/report': nothing, '/get': nothing,
    },
    async run(scene) {
      await scene.visit('/');
      // A download that is taken back by the server leaves the page where it is.
      for (const id of ['#a', '#c', '#d']) await scene.tab.click(id);
      await scene.tab.run(() => {
        const link = document.querySelector('#b');
        addEventListener('click', (event) => event.preventDefault());
        link.click();
      });
      const rows = await scene.expect(
        ['pageview /', 'click download /', 'click download /', 'click download /']);
      assert.deepEqual(rows.slice(1).map((row) => row.props.id), ['a', 'c', 'b']);
    },
  },
  {
    name: 'mailto and tel',
    pages: { '/': `${STAY}<a id="m" href="mailto:a@b.example?subject=secret">m</a> <a id="t" href="tel:+1">t</a>` },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.click('#m');
      await scene.tab.click('#t');
      const rows = await scene.expect(['pageview /', 'click mailto /', 'click tel /']);
      assert.equal(rows[1].props.href, 'mailto:a@b.example');
    },
  },
  {
    name: 'an element with data-event, added later, and nothing for one without',
    pages: { '/': '<button id="plain">plain</button><div id="place"></div>' },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.click('#plain');
      await scene.tab.run(() => {
        const button = document.createElement('button');
        button.id = 'late';
        button.setAttribute('data-event', 'play');
        button.setAttribute('data-event-film', 'minho');
        button.append('play');
        button.addEventListener('click', (event) => event.stopImmediatePropagation());
        document.querySelector('#place').append(button);
      });
      await scene.tab.click('#late');
      const rows = await scene.expect(['pageview /', 'click play /']);
      assert.equal(rows[1].props.film, 'minho');
    },
  },
  {
    name: 'a click inside a shadow root, and a form there',
    pages: { '/': `<div id="host"></div><script>
      document.querySelector('#host').attachShadow({ mode: 'open' }).innerHTML =
        '<p data-event="deep"><i>x</i></p><form id="inner"><input name="q"><button>go</button></form>';
      </script>` },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.run(() => {
        const root = document.querySelector('#host').shadowRoot;
        root.addEventListener('submit', (event) => event.preventDefault());
        root.querySelector('i').click();
        root.querySelector('input').focus();
        root.querySelector('button').click();
      });
      await scene.expect(['pageview /', 'click deep /', 'form inner /']);
    },
  },
  {
    name: 'a click is delayed by nothing and prevented by nobody',
    pages: { '/': '<a id="out" href="two">two</a>', '/two': 'two' },
    async run(scene) {
      await scene.visit('/');
      const prevented = await scene.tab.run(() => {
        let seen;
        addEventListener('click', (event) => { seen = event.defaultPrevented; event.preventDefault(); });
        document.querySelector('#out').click();
        return seen;
      });
      assert.equal(prevented, false);
      await scene.expect(['pageview /']);
    },
  },
];
