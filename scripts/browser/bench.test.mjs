// scripts/bench snippet, its quick form: that it finds what it looks for. The figures themselves
// are nothing here, where other tests run.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { directory } from './lib.mjs';

const BENCH = fileURLToPath(new URL('../bench', import.meta.url));

// All that a snippet ought not to do, before its first event goes out.
const BAD = `document.body.append('x');
window.height = document.body.offsetHeight;
new Intl.DateTimeFormat().resolvedOptions();
const keep = Array.from({ length: 50000 }, (_, i) => ({ i }));
fetch(new URL('/send', document.currentScript.src),
  { method: 'POST', body: '{}', headers: { 'Content-Type': 'application/json' } }).then(() => keep);
addEventListener('pagehide', () => keep.length);`;

test('the bench sees what a bad snippet does, and that ours does not', (t) => {
  const dir = directory(t);
  const [bad, json, plot] = ['bad.js', 'figures.json', 'plot.svg'].map((name) => path.join(dir, name));
  fs.writeFileSync(bad, BAD);
  const { status, stdout, stderr } = spawnSync(BENCH,
    ['snippet', '--rounds', '1', '--no-peers', '--peer', `bad=${bad}`, '--json', json, '--plot', plot],
    { encoding: 'utf8', timeout: 120_000 });
  assert.equal(status, 1, `one round is never enough for a verdict: ${stdout}${stderr}`);
  const { snippets, goals } = JSON.parse(fs.readFileSync(json, 'utf8'));
  const [ours, theirs] = snippets;

  assert.equal(theirs.raw, BAD.length);
  assert.deepEqual([theirs.layouts_before, theirs.intl_before, theirs.preflights], [1, 1, 1]);
  assert.ok(theirs.runs[0].heap > 1e6, `heap ${theirs.runs[0].heap}`);
  assert.ok(theirs.runs[0].eval > 0 && theirs.runs[0].script > 0);

  assert.deepEqual([ours.layouts_before, ours.intl_before, ours.preflights], [0, 0, 0]);
  assert.equal(ours.requests, 3, 'the script, the pageview, the leave');
  assert.ok(ours.runs[0].eval > 0 && ours.runs[0].script_later > ours.runs[0].script);
  assert.ok(ours.brotli < ours.gzip && ours.gzip < ours.raw);
  const verdicts = goals.map(({ name, verdict }) => `${name}: ${verdict}`);
  assert.deepEqual(verdicts.slice(0, 3).filter((v) => !v.endsWith(': inconclusive')), []);
  assert.deepEqual(verdicts.slice(3).filter((v) => !v.endsWith(': met')), []);
  assert.match(fs.readFileSync(plot, 'utf8'), /^<svg .*>bad</s);
});
