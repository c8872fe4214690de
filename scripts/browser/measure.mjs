// What one snippet costs one page, measured once: prints a JSON object. scripts/bench snippet
// calls it for each side by turns.
//
//   node measure.mjs '{"head": "<script …>", "script": FILE, "collector": URL, "probe": true}'
//
// head is what the page has in its <head>; %ORIGIN% in it is the collector as the page reaches
// it, which is another site than the page's. There FILE is served as /script.js and every other
// request is answered well, or, with a collector, all of it passes on to that one. Nothing of it
// but %ORIGIN% is the snippet's: a page without a tag has an empty head. The page has a line of
// script of its own.
//
// A fresh Chromium, its CPU slowed down four times, loads the page, stays, and leaves it. Times
// are in milliseconds:
//
//   eval                  compile and first run of the snippet's file
//   script, script_later  all JavaScript of the page, until 1.5 and 4 seconds after its load
//   heap, heap_later      bytes of JavaScript objects then, after a garbage collection
//   requests, preflights  what came to the collector, the script itself included; and events,
//                         those that were neither the script nor a preflight
//
// With probe it is slow and does not stay for long, and tells layouts, those that the snippet forced, and before its first
// event was sent layouts_before and intl_before, how often it asked for something of Intl.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { brotliCompressSync } from 'node:zlib';
import { chromium, directory } from './lib.mjs';

const THROTTLE = 4;
const SETTLED = 1500; // ms after the load
const LATER = 4000;
// What pages do themselves: the first script that touches the document and one of its elements
// pays some 60 KiB of heap for their interfaces, which no snippet is to be blamed for.
const OWN = `document.documentElement.classList.add('js'); document.currentScript.dataset.seen = 1;`;
const GONE = 700; // ms after the next page's load
const GIF = Buffer.from('R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7', 'base64');

const side = { head: '', ...JSON.parse(process.argv[2]) };
const endings = [];
const t = { after: (end) => endings.push(end) };
try {
  process.stdout.write(`${JSON.stringify(await measure())}\n`);
} finally {
  for (const end of endings) await end();
}

async function measure() {
  const seen = [];
  const collector = await serve((request, response) => {
    seen.push({ method: request.method, path: request.url.split('?')[0] });
    answer(request, response);
  });
  const page = (head) => `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A page</title>
    <link rel="icon" href="data:,"><script>${OWN}</script>${head}</head><body>${'<p>Some words of a page.</p>'.repeat(300)}</body></html>`;
  const pages = await serve((request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/html' });
    response.end(page(request.url === '/' ? side.head.replaceAll('%ORIGIN%', collector) : ''));
  });
  const site = pages.replace('127.0.0.1', 'localhost');

  // Some snippets keep still in a browser that says that a program drives it.
  const args = ['--disable-blink-features=AutomationControlled'];
  const browser = await chromium(t, { args, ignoreDefaultArgs: ['--enable-automation'] });
  const warm = await browser.newPage();
  await warm.goto(`${site}/warm`);
  await pause(1000); // the browser's own pages load meanwhile

  const tab = await browser.newPage();
  const devtools = await tab.createCDPSession();
  const trace = path.join(directory(t), 'trace.json');
  await devtools.send('Performance.enable');
  await devtools.send('Emulation.setCPUThrottlingRate', { rate: THROTTLE });
  if (side.probe) await tab.evaluateOnNewDocument(mark);
  const more = side.probe ? ['blink.user_timing', 'disabled-by-default-devtools.timeline.stack'] : [];
  await tab.tracing.start({ path: trace, categories: ['devtools.timeline', ...more] });
  const scripted = async () => {
    const { metrics } = await devtools.send('Performance.getMetrics');
    return 1000 * metrics.find(({ name }) => name === 'ScriptDuration').value;
  };
  await tab.goto(`${site}/`);
  await pause(SETTLED);
  const heap = async () => {
    await devtools.send('HeapProfiler.collectGarbage');
    return (await devtools.send('Runtime.getHeapUsage')).usedSize;
  };
  const settled = { script: await scripted(), heap: await heap() };
  if (!side.probe) await pause(LATER - SETTLED);
  const later = { script: await scripted(), heap: await heap() };
  await tab.tracing.stop();
  await tab.goto(`${site}/next`);
  await pause(GONE);

  const { traceEvents } = JSON.parse(fs.readFileSync(trace, 'utf8'));
  const preflights = seen.filter(({ method }) => method === 'OPTIONS').length;
  const files = seen.filter((request) => request.method === 'GET' && request.path.endsWith('.js')).length;
  return {
    eval: evaluation(traceEvents, collector),
    ...settled,
    script_later: later.script,
    heap_later: later.heap,
    requests: seen.length,
    preflights,
    events: seen.length - preflights - files,
    ...(side.probe && forced(traceEvents, collector)),
  };
}

// evaluation adds up what ran as files of the collector's; compiling is a part of it.
function evaluation(events, origin) {
  return events
    .filter(({ name, args }) => name === 'EvaluateScript' && args.data?.url.startsWith(origin))
    .reduce((sum, { dur }) => sum + dur / 1000, 0);
}

function forced(events, origin) {
  const marks = (name) => events.filter((e) => e.name === name && e.cat.includes('user_timing'));
  const sent = Math.min(...marks('bench-sent').map(({ ts }) => ts));
  const ours = ({ name, args }) => name === 'Layout' &&
    args.beginData?.stackTrace?.some(({ url }) => url.startsWith(origin));
  const layouts = events.filter(ours);
  const before = ({ ts }) => ts < sent;
  return {
    layouts: layouts.length,
    layouts_before: layouts.filter(before).length,
    intl_before: marks('bench-intl').filter(before).length,
  };
}

// mark runs in the page before all else, and writes into the trace when something of Intl is
// asked for, and when something is sent.
function mark() {
  const around = (object, name, what) => {
    const original = object[name];
    object[name] = new Proxy(original, {
      apply(...call) { performance.mark(what); return Reflect.apply(...call); },
      construct(...call) { performance.mark(what); return Reflect.construct(...call); },
    });
  };
  for (const name of Object.getOwnPropertyNames(Intl)) {
    if (/^[A-Z]/.test(name)) around(Intl, name, 'bench-intl');
  }
  for (const name of ['toLocaleString', 'toLocaleDateString', 'toLocaleTimeString']) {
    around(Date.prototype, name, 'bench-intl');
  }
  around(window, 'fetch', 'bench-sent');
  around(Navigator.prototype, 'sendBeacon', 'bench-sent');
  around(XMLHttpRequest.prototype, 'send', 'bench-sent');
  const { set, ...rest } = Object.getOwnPropertyDescriptor(HTMLImageElement.prototype, 'src');
  Object.defineProperty(HTMLImageElement.prototype, 'src', {
    ...rest,
    set(value) { performance.mark('bench-sent'); set.call(this, value); },
  });
}

// answer is a collector that likes everything.
function answer(request, response) {
  if (side.collector) return pass(request, response);
  if (request.url === '/script.js') {
    response.writeHead(200, { 'Content-Type': 'text/javascript', 'Content-Encoding': 'br', 'Access-Control-Allow-Origin': '*' });
    return response.end(brotliCompressSync(fs.readFileSync(side.script)));
  }
  const cors = {
    'Access-Control-Allow-Origin': request.headers.origin ?? '*',
    'Access-Control-Allow-Headers': request.headers['access-control-request-headers'] ?? '*',
    'Access-Control-Allow-Credentials': 'true',
  };
  request.resume();
  if (request.method === 'GET') {
    response.writeHead(200, { ...cors, 'Content-Type': 'image/gif' });
    return response.end(GIF);
  }
  response.writeHead(200, { ...cors, 'Content-Type': 'text/plain' });
  return response.end('ok');
}

function pass(request, response) {
  const url = new URL(request.url, side.collector);
  const headers = { ...request.headers, host: url.host };
  const onward = http.request(url, { method: request.method, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  onward.on('error', () => response.destroy());
  request.pipe(onward);
}

async function serve(handler) {
  const server = http.createServer(handler);
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  t.after(() => { server.closeAllConnections(); server.close(); });
  return `http://127.0.0.1:${server.address().port}`;
}
