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
