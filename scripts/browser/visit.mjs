// One visit of the demo shop by a person who tries everything, and what the table must hold
// afterwards. The shop is visited under a name of another site than the collector's.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { until, waitForRows } from './lib.mjs';

// Nothing is loaded from outside: the outbound link ends at this machine.
export const OFFLINE = '--host-resolver-rules=MAP example.com 127.0.0.1:9';

// abroad gives the site's address under another host name than the collector's.
export const abroad = (site) => site.replace('127.0.0.1', 'localhost');

export async function visit(browser, site, { snapshot } = {}) {
  const tab = await browser.newPage();
  await tab.setViewport({ width: 1440, height: 900 });
  const requests = [];
  tab.on('request', (r) => requests.push(`${r.method()} ${new URL(r.url()).pathname}`));
  const leaving = (id) => Promise.all([tab.waitForNavigation(), tab.click(id)]);

  await tab.goto(`${abroad(site)}/?utm_source=letter&utm_medium=email&utm_campaign=autumn`);
  await tab.click('#event-film');
  await tab.type('#newsletter-email', 'secret@example.org');
  await tab.click('#newsletter-submit');
  await tab.waitForFunction(() => document.querySelector('#newsletter-status').textContent !== '');
  await tab.evaluate(() => document.querySelector('#download-lookbook').click());
  await leaving('#nav-ridge-boot');
  await tab.click('#wishlist');
  await tab.click('#add-to-cart');
  if (snapshot) await snapshot(tab);
  await leaving('#nav-spa');
  await tab.click('#spa-measure');
  await tab.click('#spa-lacing');
  await tab.goBack();
  await pause(100); // the page is the same one: there is nothing to wait for but its events
  await leaving('#nav-cart');
  await tab.type('#checkout-name', 'Ada Secret');
  await tab.type('#checkout-email', 'ada@secret.example');
  await tab.type('#checkout-address', '1 Secret Lane');
  await leaving('#checkout-submit');
  await tab.evaluate(() => document.querySelector('#outbound').click());
  await until(10_000, () => 'the outbound link', () => !tab.url().includes('/thank-you'));
  await tab.close();
  assert.deepEqual(requests.filter((r) => r.startsWith('OPTIONS')), [], 'there was a preflight');
}

// What a visit is in the table, in its order. The address of the site stands for itself as *.
export const ROWS = [
  ['pageview', null, '/', null],
  ['click', 'film_play', '/', null],
  ['form', 'newsletter', '/', null],
  ['click', 'download', '/', null],
  ['leave', null, '/', null],
  ['pageview', null, '/p/ridge-boot', '*/'],
  ['click', 'wishlist', '/p/ridge-boot', '*/'],
  ['custom', 'add_to_cart', '/p/ridge-boot', '*/'],
  ['leave', null, '/p/ridge-boot', '*/'],
  ['pageview', null, '/spa/', '*/p/ridge-boot'],
  ['leave', null, '/spa/', '*/p/ridge-boot'],
  ['pageview', null, '/spa/measure', '*/spa/'],
  ['leave', null, '/spa/measure', '*/spa/'],
  ['pageview', null, '/spa/lacing', '*/spa/measure'],
  ['leave', null, '/spa/lacing', '*/spa/measure'],
  ['pageview', null, '/spa/measure', '*/spa/lacing'],
  ['leave', null, '/spa/measure', '*/spa/lacing'],
  ['pageview', null, '/cart', '*/spa/measure'],
  ['form', 'checkout', '/cart', '*/spa/measure'],
  ['leave', null, '/cart', '*/spa/measure'],
  ['pageview', null, '/thank-you', '*/cart'],
  ['click', 'outbound', '/thank-you', '*/cart'],
  ['leave', null, '/thank-you', '*/cart'],
];

// judge waits for the rows of one visit and holds each against what was done.
export async function judge(db, site) {
  const sql = 'select * from footfall.events order by occurred_at, event_id';
  const all = await waitForRows(db, sql, [], (rows) => rows.length >= ROWS.length, 30_000);
  await pause(500); // and no more than these
  const rows = (await db.query(sql)).rows;
  assert.equal(rows.length, all.length, 'rows kept coming');

  const origin = abroad(site);
  const brief = rows.map((r) => [r.type, r.name, r.path, r.referrer?.replace(origin, '*') ?? null]);
  assert.deepEqual(brief, ROWS);

  const find = (type, name) => rows.find((r) => r.type === type && r.name === name);
  const { sku, price, currency, quantity } = find('custom', 'add_to_cart').props;
  assert.deepEqual({ sku, currency, quantity }, { sku: 'LW-BOOT', currency: 'EUR', quantity: 1 });
  assert.equal(typeof price, 'number');
  assert.deepEqual(
    { film: 'minho', seconds: '94' },
    (({ film, seconds }) => ({ film, seconds }))(find('click', 'film_play').props),
  );
  assert.equal(find('click', 'outbound').props.href, 'https://example.com/trails');
  assert.equal(find('click', 'download').props.href, `${origin}/files/lookbook.pdf`);
  assert.equal(find('form', 'checkout').props.form_id, 'checkout');
  assert.doesNotMatch(JSON.stringify(rows), /secret/i, 'something typed was sent');

  const [home] = rows;
  assert.equal(home.utm_campaign, 'autumn');
  assert.equal(home.source, 'letter');
  assert.match(home.title, /Longway/);
  const pageviews = new Set(rows.map((r) => r.pageview_id));
  assert.equal(pageviews.size, ROWS.filter(([type]) => type === 'pageview').length);
  for (const r of rows) {
    assert.equal(r.site, 'demo');
    assert.equal(r.hostname, 'localhost');
    assert.equal(r.url.split('?')[0], origin + r.path);
    assert.equal(r.clock, 'client');
    assert.equal(r.os, 'Linux');
    assert.equal(r.device, 'desktop');
    assert.match(r.browser, /Chrom/);
    assert.ok(r.bot, 'a headless browser is flagged');
    assert.ok(r.screen_w > 0 && r.viewport_w === 1440 && r.language, 'geometry and language');
    assert.equal(r.ip, null);
    assert.match(r.transport, /^(fetch|beacon)$/);
    assert.ok(r.received_at <= r.loaded_at && r.occurred_at <= r.received_at, 'times in order');
  }
  assert.equal(new Set(rows.map((r) => r.visitor_id)).size, 1, 'one visitor');
  const dead = await db.query('select count(*)::int n from footfall.dead_letters');
  assert.equal(dead.rows[0].n, 0);
}
