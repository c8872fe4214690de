// Helpers of the browser ring. Everything they start is stopped when the test ends, newest
// first and by its pid; every wait has a deadline and says at its end what it saw instead.
//
//   chromium(t)                         a headless browser with a fresh profile
//   start(t, command, args, {…})        a process, once it printed a line or wrote a file
//   footfall(t, {…})                    `footfall up` on free ports: what its up.json says
//   connect(t, url)                     a pg client
//   database(t)                         an empty database of its own: its URL
//   waitForRows(client, sql, params, predicate, deadline)
//   page(t, routes)                     a small web site of the test's own: its origin
//
// Needs CHROMIUM (path, else Debian's), TEST_DATABASE_URL (scripts/test sets it) and, for
// footfall(), FOOTFALL_TEST_BIN (else built once with `go build`).
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import puppeteer from 'puppeteer-core';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const BROWSERS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const MISSING = ['42P01', '3F000']; // SQLSTATE of undefined_table and invalid_schema_name
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking'];

const endings = new WeakMap();

// atEnd runs undo when the test ends, newest first: a process goes before its directory. The
// runner's own t.after goes the other way round.
export function atEnd(t, undo) {
  const earlier = endings.get(t);
  if (earlier) {
    earlier.push(undo);
    return;
  }
  const all = [undo];
  endings.set(t, all);
  t.after(async () => {
    const problems = [];
    while (all.length > 0) {
      try {
        await all.pop()();
      } catch (e) {
        problems.push(e);
      }
    }
    if (problems.length > 0) throw new AggregateError(problems, `ending the test: ${problems}`);
  });
}

export async function chromium(t, { args = [], ...options } = {}) {
  const executablePath = process.env.CHROMIUM || BROWSERS.find((file) => fs.existsSync(file));
  if (!executablePath) throw new Error('no Chromium: install it or set CHROMIUM to its path');
  const browser = await puppeteer.launch({
    executablePath,
    headless: true,
    userDataDir: directory(t),
    args: [...FLAGS, ...args],
    ...options,
  });
  atEnd(t, () => browser.close());
  return browser;
}

// directory makes a temporary directory that goes with the test.
export function directory(t) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'footfall-browser-'));
  // Root's PostgreSQL runs as another user and goes elsewhere when it cannot get here.
  fs.chmodSync(dir, 0o755);
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true, maxRetries: 5 }));
  return dir;
}

// start returns { child, match, output(), stop(), exited }: match is that of `line` (a RegExp
// tried on each line of stdout and stderr) or null when it waited for `file` to exist or for a
// `port` of loopback to be listened on. stop() asks with SIGTERM and insists after ten seconds;
// tests that want kill -9 use child.kill.
export async function start(t, command, args, { line, file, port, env = {}, cwd, wait = 30_000 } = {}) {
  const child = spawn(command, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  let failure;
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk) => { text += chunk; });
  }
  const exited = new Promise((resolve) => {
    child.on('error', (e) => { failure = e; resolve(e); });
    child.on('exit', (code, signal) => { failure ??= `exit ${signal ?? code}`; resolve(code); });
  });
  const stop = async () => {
    child.kill('SIGTERM');
    const insist = setTimeout(() => child.kill('SIGKILL'), 10_000);
    const code = await exited;
    clearTimeout(insist);
    return code;
  };
  atEnd(t, () => failure ?? stop());

  const match = await until(wait, () => `${command} to be ready; it printed:\n${text}`, async () => {
    if (failure) throw new Error(`${command} ended (${failure}); it printed:\n${text}`);
    if (file) return fs.existsSync(file) && { found: null };
    if (port) return (await listens(port)) && { found: null };
    const found = line ? text.split('\n').map((l) => l.match(line)).find(Boolean) : null;
    return (found || !line) && { found };
  });
  return { child, match: match.found, output: () => text, stop, exited };
}

const listens = (port) =>
  new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => resolve(true));
    socket.on('error', () => resolve(false)).on('close', () => socket.destroy());
    socket.on('connect', () => socket.end());
  });

let built;

// binary is the program under test: FOOTFALL_TEST_BIN, else built once.
export const binary = () => (built ??= process.env.FOOTFALL_TEST_BIN || build());

// freePort returns a loopback address that nobody listens on now.
export async function freePort() {
  const server = net.createServer();
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const address = `127.0.0.1:${server.address().port}`;
  await new Promise((resolve) => { server.close(resolve); });
  return address;
}

// footfall starts `footfall up` on free ports, with its private PostgreSQL or, when shared, with
// a new database of TEST_DATABASE_URL's server, and returns up.json's fields and those of start().
export async function footfall(t, { shared = false, args = [] } = {}) {
  const data = directory(t);
  const file = path.join(data, 'up.json');
  const free = ['--listen', '--site-listen', '--admin-listen'].flatMap((f) => [f, '127.0.0.1:0']);
  const url = shared ? ['--database-url', await database(t)] : [];
  const started = await start(t, binary(), ['up', '--data', data, ...free, ...url, ...args], {
    file,
    wait: 60_000,
  });
  return { ...started, data, ...JSON.parse(fs.readFileSync(file, 'utf8')) };
}

function build() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'footfall-bin-'));
  process.on('exit', () => fs.rmSync(dir, { recursive: true, force: true }));
  execFileSync('go', ['build', '-o', path.join(dir, 'footfall'), '.'], { cwd: ROOT });
  return path.join(dir, 'footfall');
}

export async function connect(t, url) {
  const client = new pg.Client({ connectionString: url });
  // A server that goes away under a test is that test's matter, not the runner's end.
  client.on('error', () => {});
  await client.connect();
  atEnd(t, () => client.end());
  return client;
}

export async function database(t) {
  const server = process.env.TEST_DATABASE_URL;
  if (!server) throw new Error('TEST_DATABASE_URL is not set: run scripts/test browser');
  const name = `browser_${randomBytes(6).toString('hex')}`;
  await once(server, `create database ${name}`);
  atEnd(t, () => once(server, `drop database if exists ${name} with (force)`));
  const url = new URL(server);
  url.pathname = `/${name}`;
  return url.href;
}

async function once(url, sql) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

// waitForRows repeats the query until predicate(rows) holds, and returns those rows. The table
// may be made later than the first try.
export async function waitForRows(client, sql, params, predicate, deadline = 15_000) {
  let rows = [];
  const seen = () => `${sql}; the last answer was ${JSON.stringify(rows, null, 1)}`;
  return until(deadline, seen, async () => {
    try {
      rows = (await client.query(sql, params)).rows;
    } catch (e) {
      if (!MISSING.includes(e.code)) throw e;
    }
    return predicate(rows) && rows;
  });
}

// page serves routes, path to HTML or to a function (request, response), on a free port.
export async function page(t, routes) {
  const server = http.createServer((request, response) => {
    const route = routes[new URL(request.url, 'http://x').pathname];
    if (typeof route === 'function') return route(request, response);
    response.writeHead(route ? 200 : 404, { 'Content-Type': 'text/html; charset=utf-8' });
    return response.end(route ?? 'not found');
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  atEnd(t, () => {
    server.closeAllConnections();
    return new Promise((resolve) => { server.close(resolve); });
  });
  return `http://127.0.0.1:${server.address().port}`;
}

// until tries every 50 ms until attempt() gives something true, and returns that.
export async function until(milliseconds, what, attempt) {
  const end = Date.now() + milliseconds;
  for (;;) {
    const value = await attempt();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited ${milliseconds} ms for ${what()}`);
    await pause(50);
  }
}
