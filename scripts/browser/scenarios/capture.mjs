// Which clicks the capture extension counts, and which of them it calls dead.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { until } from '../lib.mjs';

const BODY = `<a id="out" href="https://elsewhere.example/">out</a> <b data-event="row"><button type="button" id="in">in</button></b>
  <div id="host"></div> <a id="part" href="#part">part</a> <a id="slow" href="slow">slow</a>
  <script>
    document.querySelector('#out').onclick = (event) => { event.preventDefault(); event.target.append('!'); };
    document.querySelector('#in').onclick = (event) => event.target.append('!');
    const root = document.querySelector('#host').attachShadow({ mode: 'open' });
    root.innerHTML = '<button type="button" id="inner">0</button>';
    root.querySelector('button').onclick = ({ target }) => { target.textContent++; };
  </script>`;

export default [
  {
    name: 'capture: no click is counted twice, and no sign of life overlooked',
    pages: {
      '/': { body: BODY, tag: { 'data-ext': 'capture' } },
      '/slow': (request, response) => { setTimeout(() => response.writeHead(204).end(), 2_500); },
    },
    async run(scene) {
      await scene.visit('/');
      await until(5_000, () => 'the extension', () => scene.wire.log.some(({ path }) => /f-capture/.test(path)));
      await scene.expect(['pageview /']);
      for (const id of ['out', 'in', 'part', 'slow']) {
        await scene.tab.run((id) => document.querySelector(`#${id}`).click(), id);
        await pause(1_700);
      }
      await scene.tab.run(() => document.querySelector('#host').shadowRoot.querySelector('button').click());
      await pause(1_700);
      const rows = await scene.expect(['pageview /', 'click outbound /', 'click row /',
        ...Array(3).fill('custom click /')]);
      assert.deepEqual(rows.filter((row) => row.type === 'custom').map((row) => row.props.selector),
        ['a#part', 'a#slow', 'button#inner']);
    },
  },
];
