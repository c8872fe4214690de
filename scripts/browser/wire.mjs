// The wire between a page and the real collector: a proxy that writes down what passes and can
// be told to fail. Each scenario has one of its own.
//
//   wire.log        entries { method, path, query, type, site, body, status, events }, oldest first
//   wire.answer     (entry) → nothing: pass on; { status, headers, body }: answer so; CUT: hang up
//   wire.strip      true: takes the CORS headers off the collector's answers
//   wire.quiet()    once nothing is under way and nothing has come for a moment
//   wire.judge()    what holds for all that passed: no preflight, text/plain only, and no event
//                   id with two bodies
import assert from 'node:assert/strict';
import http from 'node:http';
import { atEnd, until } from './lib.mjs';

export const CUT = Symbol('cut');

const QUIET = 150; // ms

export async function openWire(t, collector) {
  const agent = new http.Agent({ keepAlive: true });
  const wire = { log: [], open: 0, last: 0, answer: () => {}, strip: false };
  const server = http.createServer(async (request, response) => {
    wire.open++;
    response.on('close', () => { wire.open--; wire.last = Date.now(); });
    const chunks = [];
    try {
      for await (const chunk of request) chunks.push(chunk);
    } catch {
      return; // the browser went away in the middle
    }
    const entry = note(request, Buffer.concat(chunks));
    wire.log.push(entry);
    const answer = await wire.answer(entry);
    if (answer === CUT) return request.socket.destroy();
    if (answer) return reply(entry, response, answer);
    pass(wire, { agent, collector, request, response, entry });
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  atEnd(t, () => {
    agent.destroy();
    server.closeAllConnections();
    return new Promise((resolve) => { server.close(resolve); });
  });
  wire.origin = `http://127.0.0.1:${server.address().port}`;
  wire.events = () => wire.log.flatMap((entry) => entry.events);
  wire.requests = (path) => wire.log.filter((entry) => entry.path === path);
  wire.quiet = () => until(10_000, () => `the wire to be quiet; ${wire.open} requests are open`,
    () => wire.open === 0 && Date.now() - wire.last > QUIET);
  wire.judge = () => judge(wire.log);
  return wire;
}

function note(request, body) {
  const { pathname, searchParams } = new URL(request.url, 'http://x');
  const entry = {
    method: request.method,
    path: pathname,
    query: Object.fromEntries(searchParams),
    type: request.headers['content-type'],
    site: request.headers['sec-fetch-site'],
    headers: request.headers,
    body,
    at: Date.now(),
    events: [],
  };
  if (request.method === 'POST') {
    const { events, ...envelope } = JSON.parse(body);
    entry.envelope = envelope;
    entry.events = events;
  } else if (pathname.endsWith('.gif')) {
    // One event in the query, or an envelope as it would stand in a beacon.
    entry.events = entry.query.json ? JSON.parse(entry.query.json).events : [entry.query];
  }
  return entry;
}

const CORS = { 'Access-Control-Allow-Origin': '*', 'Access-Control-Expose-Headers': '*' };

function reply(entry, response, { status, headers = CORS, body = '' }) {
  entry.status = status;
  response.writeHead(status, headers);
  response.end(body);
}

function pass(wire, { agent, collector, request, response, entry }) {
  const url = new URL(request.url, collector);
  const headers = { ...request.headers, host: url.host };
  const onward = http.request(url, { agent, method: request.method, headers }, (answer) => {
    entry.status = answer.statusCode;
    const kept = Object.entries(answer.headers)
      .filter(([name]) => !wire.strip || !name.startsWith('access-control-'));
    response.writeHead(answer.statusCode, Object.fromEntries(kept));
    answer.pipe(response);
  });
  onward.on('error', () => response.destroy());
  onward.end(entry.body);
}

// What may differ from one sending of an event to the next: it is about the sending.
const SENDING = ['sent_at', 'transport', 'site', 'snippet_version', 'language', 'timezone', 'gpc',
  'screen_w', 'screen_h', 'viewport_w', 'viewport_h', 'session_id', 'consent', 'user_id'];

// An event as text, alike from a beacon and from a pixel's query.
function canonical(event) {
  const text = (value) => (typeof value === 'object' ? JSON.stringify(value) : String(value));
  return Object.entries(event)
    .filter(([name, value]) => !SENDING.includes(name) && value != null)
    .map(([name, value]) => `${name}=${text(value)}`)
    .sort()
    .join('\n');
}

function judge(log) {
  const bodies = new Map();
  for (const entry of log) {
    assert.notEqual(entry.method, 'OPTIONS', `a preflight of ${entry.path}`);
    if (entry.method === 'POST') assert.match(entry.type, /^text\/plain/);
    for (const event of entry.events) {
      const body = canonical(event);
      const before = bodies.get(event.event_id) ?? body;
      assert.equal(body, before, `event ${event.event_id} was sent with two bodies`);
      bodies.set(event.event_id, before);
    }
  }
}
