// What README.md tells a site to do, done: the tag that `footfall snippet` prints, names of an
// installation's own, snippets that are kept over an upgrade. A collector of its own for each,
// because its settings differ; rows in PostgreSQL are the judge.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { binary, chromium, connect, directory, footfall, page, waitForRows } from './lib.mjs';
import { abroad } from './visit.mjs';

// snippet is what the command prints for these settings: the tag, the pinned tag, the pixel.
function snippet(...args) {
  const printed = execFileSync(binary(), ['snippet', ...args], { encoding: 'utf8' });
  const [moving, pinned] = printed.match(/<script [^]*?<\/script>/g);
  return { moving, pinned, pixel: printed.match(/<noscript>[^]*<\/noscript>/)[0] };
}

const rowsOf = (db, n) => waitForRows(db, 'select * from footfall.events order by occurred_at, event_id', [],
  (rows) => rows.length >= n);

test('names of an installation: the printed tags ask for no other', async (t) => {
  const settings = path.join(directory(t), 'footfall.yaml');
  fs.writeFileSync(settings, 'names: {beacon: in, pixel: i.gif, script: n}\nsites:\n  shop:\n    snippet: {hash: true}\n');
  const up = await footfall(t, { shared: true, args: ['--config', settings] });
  const db = await connect(t, up.database_url);
  const tags = snippet('--config', settings, '--site', 'shop', '--collector', up.collector);
  const origin = await page(t, {
    '/moving': tags.moving.replace('data-site', 'data-ext="vitals" data-site'),
    '/pinned': tags.pinned,
    '/pixel': tags.pixel,
    '/blocked': `<meta http-equiv="Content-Security-Policy" content="connect-src 'none'">${tags.moving}`,
    '/end': '<title>end</title>',
  });
  const browser = await chromium(t);
  const tab = await browser.newPage();
  const asked = [];
  tab.on('request', (request) => {
    if (request.url().startsWith(up.collector)) asked.push(new URL(request.url()).pathname);
  });
  for (const [i, name] of ['/moving', '/pinned', '/blocked'].entries()) {
    await tab.goto(`${abroad(origin)}${name}#/${i}`);
    await rowsOf(db, 2 * i + 1);
    await tab.goto(`${abroad(origin)}/end`);
    await rowsOf(db, 2 * i + 2);
  }
  await tab.setJavaScriptEnabled(false);
  await tab.goto(`${abroad(origin)}/pixel`);

  const rows = await rowsOf(db, 7);
  const views = rows.filter((row) => row.type === 'pageview');
  assert.deepEqual(views.map((row) => [row.path, row.transport]), [
    ['/moving/0', 'fetch'], ['/pinned/1', 'fetch'], ['/blocked/2', 'pixel'], ['/pixel', 'pixel'],
  ], 'as this site counts: a fragment is a path');
  const names = [...new Set(asked)].sort();
  assert.equal(names.filter((name) => /^\/(e|f.*|p\.gif)$/.test(name)).length, 0, `asked for ${names}`);
  assert.match(names.join(' '), /^\/i\.gif \/in \/n-vitals\.\w{8}\.js \/n\.\w{16}\.js \/n\.shop\.js$/);
});

test('a page that is pinned to an older snippet goes on after an upgrade', async (t) => {
  const pinned = path.join(directory(t), 'pinned');
  const old = await footfall(t, { shared: true, args: ['--pinned', pinned] });
  const tag = snippet('--collector', old.collector).pinned;
  await old.stop();

  // Another name of the beacon makes another file, as another version would.
  const settings = path.join(directory(t), 'footfall.yaml');
  fs.writeFileSync(settings, 'names: {beacon: in}\n');
  const up = await footfall(t, { shared: true, args: ['--pinned', pinned, '--config', settings] });
  const db = await connect(t, up.database_url);
  const [hash] = tag.match(/f\.\w{16}\.js/);
  assert.notEqual(snippet('--config', settings).pinned.match(/f\.\w{16}\.js/)[0], hash);
  const origin = await page(t, { '/': tag.replace(old.collector, up.collector) });
  const browser = await chromium(t);
  const tab = await browser.newPage();
  await tab.goto(`${abroad(origin)}/`);
  const [row] = await rowsOf(db, 1);
  assert.equal(row.path, '/');

  const missing = await fetch(`${up.collector}/f.0123456789abcdef.js`);
  assert.equal(missing.status, 404);
  assert.equal(missing.headers.get('x-footfall-reason'), 'not_found');
  assert.match((await missing.json()).detail, /\/f\.js is the one of now/);
});
