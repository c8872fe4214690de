// What a form is: each way of sending one, and what was given up; never what was typed.
import assert from 'node:assert/strict';

const silent = async (scene) => {
  const said = JSON.stringify([await scene.rows(), scene.wire.log.map((e) => [e.query, `${e.body}`])]);
  assert.doesNotMatch(said, /secret/i, 'something typed was sent');
};
const form = (more, inside = '') =>
  `<form id="order" ${more}><input id="email" name="email">${inside}<button id="go">go</button></form>`;
const FETCHED = `<script>document.querySelector('form').addEventListener('submit', (event) => {
  event.preventDefault(); fetch('taken', { method: 'POST', body: new FormData(event.target) }); })</script>`;
const taken = (request, response) => { response.writeHead(204).end(); };

export default [
  {
    name: 'a form that a script sends by fetch',
    pages: { '/': form('action="/buy/now?secret"') + FETCHED, '/taken': taken },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.type('#email', 'secret@example.org');
      await scene.tab.click('#go');
      const rows = await scene.expect(['pageview /', 'form order /']);
      assert.equal(rows[1].props.form_action, '/buy/now');
      await silent(scene);
    },
  },
  {
    name: 'a form that the browser sends: GET',
    pages: { '/': form('action="two"'), '/two': 'two' },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.type('#email', 'secret');
      await scene.tab.click('#go');
      await scene.arrive('/two');
      const rows = await scene.expect(['pageview /', 'form order /', 'leave /', 'pageview /two']);
      assert.equal(rows[1].pageview_id, rows[0].pageview_id);
      await silent(scene);
    },
  },
  {
    name: 'a form that the browser sends: POST, by the Enter key',
    pages: { '/': form('action="two" method="post"'), '/two': 'two' },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.type('#email', 'secret\n');
      await scene.arrive('/two');
      await scene.expect(['pageview /', 'form order /', 'leave /', 'pageview /two']);
      await silent(scene);
    },
  },
  {
    name: 'form.submit() of a script, which no event tells',
    pages: { '/': form('action="two"'), '/two': 'two' },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.type('#email', 'secret');
      await scene.tab.run(() => { setTimeout(() => document.querySelector('form').submit()); });
      await scene.arrive('/two');
      await scene.expect(['pageview /', 'form order /', 'leave /', 'pageview /two']);
      await silent(scene);
    },
  },
  {
    name: 'requestSubmit() is one form, new FormData() is none',
    pages: { '/': form('') + FETCHED, '/taken': taken },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.run(() => {
        new FormData(document.querySelector('form'));
        document.querySelector('form').requestSubmit();
      });
      await scene.expect(['pageview /', 'form order /']);
    },
  },
  {
    name: 'a form in a dialog',
    pages: { '/': `<dialog open><form id="ask" method="dialog"><button id="go">yes</button></form></dialog>` },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.click('#go');
      assert.equal(await scene.tab.run(() => document.querySelector('dialog').open), false);
      await scene.expect(['pageview /', 'form ask /']);
    },
  },
  {
    name: 'a form that was begun and left: the leave names the field, not its value',
    pages: { '/': form('', '<input id="street" name="street">') + '<a id="next" href="two">two</a>', '/two': 'two' },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.type('#email', 'secret@example.org');
      await scene.tab.type('#street', '1 Secret Lane');
      await scene.tab.click('#next');
      await scene.arrive('/two');
      const rows = await scene.expect(['pageview /', 'leave /', 'pageview /two']);
      assert.deepEqual(rows[1].props, { form: 'order', field: 'street' });
      await silent(scene);
    },
  },
  {
    name: 'a form whose fields are named like its own properties',
    pages: { '/': `<form id="odd" action="two"><input name="id"><input name="action"><input name="method"><button id="go">go</button></form>`, '/two': 'two' },
    async run(scene) {
      await scene.visit('/');
      await scene.tab.click('#go');
      await scene.arrive('/two');
      const rows = await scene.expect(['pageview /', 'form odd /', 'leave /', 'pageview /two']);
      assert.doesNotMatch(JSON.stringify(rows), /object HTML/);
    },
  },
];
