// Holds the parts that the other browser tests rest on: a beacon sent while a page goes away
// leaves this Chromium, and a row that appears later is found.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chromium, connect, database, page, start, until, waitForRows } from './lib.mjs';

test('a beacon sent while the page goes away reaches another origin', async (t) => {
  const got = [];
  const collector = await page(t, {
    '/e': (request, response) => {
      let body = '';
      request.on('data', (chunk) => { body += chunk; });
      request.on('end', () => {
        got.push({ method: request.method, body });
        response.writeHead(204).end();
      });
    },
  });
  const leave = `addEventListener('pagehide', () => navigator.sendBeacon('${collector}/e', 'bye'))`;
  const site = await page(t, { '/': `<title>one</title><script>${leave}</script>`, '/2': 'two' });
  const browser = await chromium(t);
  const tab = await browser.newPage();
  await tab.goto(site);
  assert.equal(await tab.title(), 'one');
  await tab.goto(`${site}/2`);
  await until(5_000, () => `the beacon; got ${JSON.stringify(got)}`, () => got.length > 0);
  assert.deepEqual(got, [{ method: 'POST', body: 'bye' }]);
});

test('a row that appears after the question is found', async (t) => {
  const url = await database(t);
  const client = await connect(t, url);
  const later = await connect(t, url);
  setTimeout(() => later.query("create table walk as select 'lamps' as page"), 300);
  const rows = await waitForRows(client, 'select page from walk', [], (r) => r.length === 1);
  assert.deepEqual(rows, [{ page: 'lamps' }]);
});

test('rows that do not come end the wait with the last answer', async (t) => {
  const client = await connect(t, await database(t));
  await assert.rejects(
    waitForRows(client, 'select 7 as steps', [], (rows) => rows[0]?.steps === 8, 200),
    /waited 200 ms for select 7 as steps; the last answer was .*"steps": 7/s,
  );
});

test('a process that dies before it is ready is told with what it printed', async (t) => {
  await assert.rejects(
    start(t, 'sh', ['-c', 'echo port taken; exit 3'], { line: /ready/ }),
    /ended \(exit 3\); it printed:\nport taken/,
  );
});
