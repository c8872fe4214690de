// The recipes for Next and Cloudflare as README.md has them, in Next and in workerd.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Miniflare } from 'miniflare';
import {
  atEnd, chromium, connect, directory, footfall, freePort, page, start, until, waitForRows,
} from '../browser/lib.mjs';
import { recipe } from '../browser/scene.mjs';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const NEXT = path.join(HERE, 'node_modules/next/dist/bin/next');
const ALL = 'select * from footfall.events order by occurred_at, event_id';
const brief = (rows) => rows.map((row) => [row.type, row.name, row.path].filter(Boolean).join(' '));

// The shop: two pages with a link, under the tag by the rewrite, and under the module.
function shop(dir, collector) {
  const [, tag] = recipe('next/script', '/news').match(/(<Script [^>]*\/>)/);
  const layout = (head, body) => `${head}
export default function Layout({ children }) {
  return <html lang="en"><body>${body}{children}</body></html>;
}
`;
  const files = {
    'package.json': '{"private": true, "type": "module"}',
    'next.config.mjs': recipe('// next.config.mjs', collector),
    'app/(tag)/layout.jsx': layout('import Script from "next/script";', tag),
    'app/(module)/module/layout.jsx': layout('import Count from "./count.jsx";', '<Count />'),
    'app/(module)/module/count.jsx': `"use client";
import { useEffect } from "react";
import { init, footfall } from "footfall";
footfall("on the server too, where it is nothing");
export default function Count() {
  useEffect(() => { init({ site: "demo", endpoint: ${JSON.stringify(`${collector}/e`)} }); footfall("mounted"); }, []);
  return null;
}
`,
  };
  for (const [group, prefix] of [['(tag)', ''], ['(module)/module', '/module']]) {
    files[`app/${group}/page.jsx`] = `import Link from "next/link";
export default function Page() { return <Link id="next" href="${prefix}/two">two</Link>; }
`;
    files[`app/${group}/two/page.jsx`] = 'export default function Page() { return <p id="two">two</p>; }\n';
  }
  for (const [name, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(dir, name)), { recursive: true });
    fs.writeFileSync(path.join(dir, name), text);
  }
  // Inside, because its builder does not look outside of the app.
  fs.cpSync(path.join(HERE, '../../snippet/npm'), path.join(dir, 'node_modules/footfall'), { recursive: true });
  for (const name of ['next', 'react', 'react-dom']) {
    fs.symlinkSync(path.join(HERE, 'node_modules', name), path.join(dir, 'node_modules', name));
  }
}

test('Next: the tag by a rewrite, and the module in a client component', async (t) => {
  const up = await footfall(t, { shared: true });
  const db = await connect(t, up.database_url);
  // Below our own node_modules, so that what Next itself needs is found.
  const dir = fs.mkdtempSync(path.join(HERE, 'app-'));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  shop(dir, up.collector);
  const env = { ...process.env, NEXT_TELEMETRY_DISABLED: '1' };
  execFileSync(process.execPath, [NEXT, 'build'], { cwd: dir, env, encoding: 'utf8', stdio: 'pipe' });
  const port = (await freePort()).split(':')[1];
  await start(t, process.execPath, [NEXT, 'start', '-p', port, '-H', '127.0.0.1'],
    { cwd: dir, env, port: Number(port), wait: 60_000 });

  const tab = await (await chromium(t)).newPage();
  const asked = [];
  tab.on('request', (request) => asked.push(request.url()));
  for (const [i, prefix] of ['', '/module'].entries()) {
    await tab.goto(`http://localhost:${port}${prefix || '/'}`);
    await waitForRows(db, ALL, [], (rows) => rows.filter(({ type }) => type === 'pageview').length === 2 * i + 1);
    await tab.click('#next');
    await tab.waitForSelector('#two');
    await waitForRows(db, ALL, [], (rows) => rows.filter(({ type }) => type === 'pageview').length === 2 * i + 2);
  }
  const rows = await waitForRows(db, ALL, [], (rows) => rows.length >= 8);
  assert.deepEqual(brief(rows), [
    'pageview /', 'leave /', 'pageview /two', 'leave /two',
    'pageview /module', 'custom mounted /module', 'leave /module', 'pageview /module/two',
  ]);
  const news = asked.filter((url) => new URL(url).pathname.startsWith('/news/')).map((url) => new URL(url).pathname);
  assert.deepEqual([...new Set(news)].sort(), ['/news/e', '/news/f.js'], 'the rewrite carried them');
});

test('Cloudflare: the Worker in workerd', async (t) => {
  const up = await footfall(t, { shared: true });
  const db = await connect(t, up.database_url);
  const worker = new Miniflare({ modules: true, script: recipe('A Worker of Cloudflare', up.collector) });
  atEnd(t, () => worker.dispose());
  const { origin } = await worker.ready;
  const pages = await page(t, {
    '/': `<title>shop</title><link rel="icon" href="data:,"><script defer src="${origin}/news/f.js" data-site="demo" data-ext="vitals"></script>`,
    '/blocked': `<meta http-equiv="Content-Security-Policy" content="connect-src 'none'"><link rel="icon" href="data:,"><script defer src="${origin}/news/f.js" data-site="demo"></script>`,
  });
  const tab = await (await chromium(t)).newPage();
  const asked = [];
  tab.on('response', (response) => { if (response.url().startsWith(origin)) asked.push([new URL(response.url()).pathname, response.status()]); });
  await tab.goto(pages);
  await waitForRows(db, ALL, [], (rows) => rows.length === 1);
  await tab.goto(`${pages}/blocked`);
  const rows = await waitForRows(db, ALL, [], (rows) => rows.length === 3);
  assert.deepEqual(brief(rows), ['pageview /', 'leave /', 'pageview /blocked']);
  assert.equal(rows[2].transport, 'pixel');
  await until(2_000, () => 'the answers', () => asked.some(([name]) => name === '/news/p.gif'));
  assert.ok(asked.every(([, status]) => status === 200 || status === 204 || status === 304), JSON.stringify(asked));
  assert.ok(asked.some(([name]) => /^\/news\/f-vitals\.\w+\.js$/.test(name)), 'the extension came the same way');
});
