// The demo shop in a real Chromium, from the tag to the row: once through `footfall up`, once
// through Apache Kafka with three brokers, of which one is killed in the middle.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import {
  atEnd, binary, chromium, connect, database, directory, footfall, freePort, page, start, until,
  waitForRows,
} from './lib.mjs';
import { abroad, judge, OFFLINE, visit } from './visit.mjs';

const KAFKA = fileURLToPath(new URL('../kafka', import.meta.url));

test('a visit of the demo shop is exactly these rows, through up', async (t) => {
  const up = await footfall(t);
  const db = await connect(t, up.database_url);
  const browser = await chromium(t, { args: [OFFLINE] });
  const live = await browser.newPage();
  await live.goto(`${up.site}/live`);
  await visit(browser, up.site, { snapshot: screenshot });
  await judge(db, up.site);

  await live.bringToFront();
  const shown = () => live.$$eval('#events li', (list) => list.map((li) => li.dataset.type));
  const rows = (await db.query('select type from footfall.events')).rows.length;
  await until(5_000, () => 'the live view to show each row', async () => (await shown()).length === rows);
});

// The README's picture: FOOTFALL_TEST_SCREENSHOT names the file to write.
async function screenshot(tab) {
  const file = process.env.FOOTFALL_TEST_SCREENSHOT;
  const frame = await (await tab.$('#live-frame')).contentFrame();
  await frame.waitForSelector('#events li[data-type="custom"]', { timeout: 10_000 });
  if (!file) return;
  await pause(1500); // the meters follow once a second
  await tab.screenshot({ path: file });
}

test('a visit is the same rows through three Kafka brokers, one of them killed', async (t) => {
  const dir = path.join(directory(t), 'kafka');
  atEnd(t, () => kafka(dir, 'down'));
  const brokers = kafka(dir, 'up', '--brokers', '3');
  const url = await database(t);
  const [listen, site] = [await freePort(), await freePort()];
  const any = ['--admin-listen', '127.0.0.1:0'];
  const spool = path.join(directory(t), 'spool');
  await start(t, binary(), ['collector', '--brokers', brokers, '--listen', listen, '--spool', spool, ...any],
    { line: /collector listens/ });
  await start(t, binary(), ['sink', '--brokers', brokers, '--database-url', url, ...any],
    { line: /sink starts/ });
  const db = await connect(t, url);
  await waitForRows(db, `select 1 from information_schema.tables
    where table_schema = 'footfall' and table_name = 'events'`, [], (r) => r.length === 1);
  await start(t, binary(), ['site', '--database-url', url, '--collector', `http://${listen}`,
    '--site-listen', site, ...any], { line: /site listens/ });

  const browser = await chromium(t, { args: [OFFLINE] });
  const killed = async () => kafka(dir, 'kill', '2');
  await visit(browser, `http://${site}`, { snapshot: killed });
  await judge(db, `http://${site}`);
});

const kafka = (dir, command, ...args) =>
  execFileSync(KAFKA, [command, ...args, '--dir', dir], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();

test('a pixel, and one in noscript, are rows', async (t) => {
  const up = await footfall(t, { shared: true });
  const db = await connect(t, up.database_url);
  const pixel = (query) => `<img id="p" alt="" src="${up.collector}/p.gif?site=demo&${query}">`;
  const origin = await page(t, {
    '/letter': `<title>letter</title>${pixel('type=email_open&name=autumn&props.issue=7')}`,
    '/plain': `<title>plain</title><noscript>${pixel('')}</noscript>`,
  });
  const browser = await chromium(t);
  const tab = await browser.newPage();
  await tab.goto(`${abroad(origin)}/letter`);
  assert.equal(await tab.$eval('#p', (img) => img.naturalWidth), 1, 'the pixel is an image');
  await tab.setJavaScriptEnabled(false);
  await tab.goto(`${abroad(origin)}/plain`);

  const rows = await waitForRows(db, 'select * from footfall.events order by occurred_at', [],
    (r) => r.length === 2);
  const brief = rows.map((r) => [r.type, r.name, r.transport, r.props, r.hostname]);
  assert.deepEqual(brief, [
    ['email_open', 'autumn', 'pixel', { issue: '7' }, 'localhost'],
    ['pageview', null, 'pixel', null, 'localhost'],
  ]);
});
