// Scenarios on the stage: one `footfall up`, one web site of pages, and for each scenario a wire
// and a folder of pages of its own.
//
// A scenario is { name, engines, pages, run }: engines are the names of those that can do it
// (all, when left out), pages gives its pages by path, run(scene) does it. A page is the text of
// its <body>, or { body, head, tag, title, headers, html, status } of which html is the whole
// document and tag the attributes of the snippet's tag (null: no tag).
//
//   scene.visit(path)         opens the page in the scene's tab (the first visit opens the tab)
//   scene.arrive(path)        waits until the tab has loaded that page
//   scene.expect(lines)       waits for rows, and holds that they are exactly these, in the order
//                             in which they happened; returns them
//   scene.rows(), scene.accept()   the rows as they are; takes them for what was expected
//   scene.origin              where the pages are; scene.abroad is the same under another host
//   scene.engine, scene.tab, scene.wire, scene.url(path)
//
// A line is `type [name] path`, the path within the scene's folder: `click outbound /`.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { atEnd, connect, directory, footfall, until } from './lib.mjs';
import { SITES } from './scenarios/switches.mjs';
import { openWire } from './wire.mjs';

const SQL = `select * from footfall.events where starts_with(path, $1) order by occurred_at, event_id`;

export async function openStage(t) {
  const up = await footfall(t, { args: ['--config', settings(t)] });
  const folders = new Map();
  const port = await serve(t, folders);
  const stage = { up, folders, origin: `http://localhost:${port}`, abroad: `http://127.0.0.1:${port}`, played: [] };
  stage.play = (s, engine, scenario) => play(s, stage, engine, scenario);
  stage.judge = (t) => judge(t, stage);
  return stage;
}

// settings is a footfall.yaml with the sites that scenarios need: JSON is YAML.
function settings(t) {
  const file = path.join(directory(t), 'footfall.yaml');
  writeFileSync(file, JSON.stringify({ sites: { demo: {}, ...SITES } }));
  return file;
}

async function play(t, stage, engine, scenario) {
  engine.db ??= await connect(engine.t, stage.up.database_url);
  const folder = `/${engine.name}-${stage.played.length}`;
  const wire = await openWire(t, stage.up.collector);
  const scene = {
    t, engine, wire, folder, name: scenario.name, up: stage.up, db: engine.db,
    origin: stage.origin,
    abroad: stage.abroad,
    url: (path) => stage.origin + folder + path,
    expected: [],
  };
  scene.pages = typeof scenario.pages === 'function' ? scenario.pages(scene) : scenario.pages;
  stage.folders.set(folder, scene);
  stage.played.push(scene);
  scene.open = async () => {
    const tab = await engine.tab();
    atEnd(t, () => tab.close().catch(() => {})); // the scenario may have closed it
    return tab;
  };
  scene.visit = async (path) => {
    scene.tab ??= await scene.open();
    await scene.tab.goto(scene.url(path));
  };
  scene.arrive = (path, tab = scene.tab) => arrive(tab, scene.folder + path);
  scene.rows = async (db = engine.db) => (await db.query(SQL, [`${folder}/`])).rows;
  scene.accept = async () => { scene.expected = (await scene.rows()).map(line(scene)); };
  scene.expect = (lines, options) => expect(scene, lines, options);
  await scenario.run(scene);
  wire.judge();
}

// A page that goes away in the middle of the question has not arrived.
async function arrive(tab, path) {
  let at;
  await until(10_000, () => `the page ${path}; the tab shows ${at}`, async () => {
    try {
      at = await tab.run(() => document.readyState === 'complete' && location.pathname);
    } catch (gone) {
      at = gone.message;
    }
    return at === path;
  });
}

const line = (scene) => ({ type, name, path }) =>
  [type, name, path.slice(scene.folder.length)].filter(Boolean).join(' ');

async function expect(scene, lines, { deadline = 10_000, ordered = true } = {}) {
  let rows = [];
  const shown = () => `${lines.length} rows; there are ${JSON.stringify(rows.map(line(scene)))}`;
  await until(deadline, shown, async () => (rows = await scene.rows()).length >= lines.length);
  await scene.wire.quiet();
  rows = await scene.rows();
  const seen = rows.map(line(scene));
  const unordered = (list) => [...list].sort();
  assert.deepEqual(ordered ? seen : unordered(seen), ordered ? lines : unordered(lines));
  scene.expected = lines;
  return rows;
}

// At the very end: no row came later than its scenario looked.
async function judge(t, stage) {
  const db = await connect(t, stage.up.database_url);
  for (const scene of stage.played) {
    const late = (await scene.rows(db)).map(line(scene)).slice(scene.expected.length);
    const unexpected = late.filter((l) => !l.startsWith('leave ')); // of closing the tab
    assert.deepEqual(unexpected, [], `${scene.folder} (${scene.name}) had rows after its end`);
  }
  const dead = await db.query('select * from footfall.dead_letters');
  assert.deepEqual(dead.rows, [], 'dead letters');
}

async function serve(t, folders) {
  const server = http.createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://x');
    const [, folder, path] = pathname.match(/^(\/[^/]+)(.*)$/) ?? [];
    const scene = folders.get(folder);
    const page = scene?.pages[path];
    if (typeof page === 'function') return page(request, response, scene);
    const found = page !== undefined;
    const { status = found ? 200 : 404, headers, delay = 0, ...rest } = typeof page === 'string' ? { body: page } : page ?? {};
    setTimeout(() => {
      response.writeHead(status, { 'Content-Type': 'text/html; charset=utf-8', ...headers });
      response.end(found ? rest.html ?? html(scene, rest, path) : 'not found');
    }, delay);
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  atEnd(t, () => {
    server.closeAllConnections();
    return new Promise((resolve) => { server.close(resolve); });
  });
  return server.address().port;
}

export const tag = (scene, attributes = {}) => {
  const all = { defer: true, src: `${scene.wire.origin}/f.js`, 'data-site': 'demo', ...attributes };
  const text = ([name, value]) => (value === true ? name : `${name}="${value}"`);
  return `<script ${Object.entries(all).filter(([, v]) => v != null).map(text).join(' ')}></script>`;
};

function html(scene, { body = '', head = '', tag: attributes = {}, title }, path) {
  const script = attributes === null ? '' : tag(scene, attributes);
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${title ?? path}</title>
<link rel="icon" href="data:,">${head}${script}</head><body>${body}</body></html>`;
}

// library reads a file of an installed package, to be a page's own script.
export const library = (file) =>
  readFileSync(new URL(`node_modules/${file}`, import.meta.url), 'utf8');

// recipe is the code block of snippet/README.md that has this text in it, for this collector.
export function recipe(text, collector) {
  const readme = readFileSync(new URL('../../snippet/README.md', import.meta.url), 'utf8');
  const blocks = [...readme.matchAll(/^```\w*\n([^]*?)^```$/gm)].map(([, block]) => block);
  const found = blocks.filter((block) => block.includes(text));
  assert.equal(found.length, 1, `README.md has ${found.length} recipes with ${text}`);
  return found[0].replaceAll('https://c.shop.example', collector).replaceAll('"shop"', '"demo"');
}
