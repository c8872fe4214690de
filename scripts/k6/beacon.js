// Load on a collector in the shapes that browsers send: beacons of one to three events, and
// pixels. Open loop: requests start at RATE whether or not earlier ones were answered, so that a
// slow collector shows as latency and dropped iterations, never as a lower load.
//
//   COLLECTOR  origin of the collector          http://127.0.0.1:8080
//   SITE       site name                        demo
//   RATE       requests a second, both kinds    200 (one k6 on two cores ends near 4,000)
//   PIXELS     share of them that are pixels    0.2 (0 to 1)
//   DURATION   k6 duration                      30s
//   RUN        mark in props.run of each event  the start time: lets SQL count this run's rows
//   SUMMARY    file for the summary as JSON     none
//
// The summary holds run, events_sent, events_accepted, events_refused, requests, failed_share,
// p50_ms, p95_ms, p99_ms, max_ms, dropped_iterations. events_accepted counts the events that a
// 2xx answered for, so `select count(*) … where props->>'run' = …` must give the same number.
// An event whose answer was lost may be a row all the same: compare for equality only when
// failed_share is 0. Exit status 99 when a threshold broke.
import http from 'k6/http';
import { Counter } from 'k6/metrics';
import { USER_AGENTS } from './user_agents.js';

const COLLECTOR = (__ENV.COLLECTOR || 'http://127.0.0.1:8080').replace(/\/$/, '');
const SITE = __ENV.SITE || 'demo';
const RATE = Number(__ENV.RATE || 200);
const PIXELS = Number(__ENV.PIXELS || 0.2);
const DURATION = __ENV.DURATION || '30s';

const sent = new Counter('events_sent');
const accepted = new Counter('events_accepted');
const refused = new Counter('events_refused');

function scenario(name, share) {
  // Rates are whole numbers of requests, here in ten seconds: a share of a small RATE survives.
  const rate = Math.round(RATE * share * 10);
  if (rate === 0) return {};
  const vus = Math.max(10, Math.ceil(RATE * share * 0.1));
  return {
    [name]: {
      executor: 'constant-arrival-rate',
      exec: name,
      rate,
      timeUnit: '10s',
      duration: DURATION,
      preAllocatedVUs: vus,
      maxVUs: vus * 10,
    },
  };
}

export const options = {
  scenarios: { ...scenario('beacon', 1 - PIXELS), ...scenario('pixel', PIXELS) },
  thresholds: {
    http_req_failed: ['rate<0.001'],
    http_req_duration: ['p(95)<500'],
  },
  summaryTrendStats: ['med', 'p(95)', 'p(99)', 'max'],
};

export function setup() {
  return { run: __ENV.RUN || new Date().toISOString() };
}

export function beacon({ run }) {
  const visit = newVisit();
  const events = [pageview(visit)];
  if (chance(0.5)) events.push(pick([click, form, custom])(visit));
  if (chance(0.3)) events.push(leave(visit));
  for (const event of events) event.props = { ...event.props, run };
  const body = JSON.stringify({
    site: SITE,
    sent_at: Date.now(),
    transport: 'beacon',
    language: pick(LANGUAGES),
    timezone: 'Europe/Berlin',
    ...visit.screen,
    url: visit.url,
    title: visit.title,
    referrer: visit.referrer,
    pageview_id: visit.pageview_id,
    gpc: chance(0.05),
    snippet_version: '1',
    events,
  });
  const headers = { 'Content-Type': 'text/plain', 'User-Agent': visit.agent, Origin: SHOP };
  const answer = http.post(`${COLLECTOR}/e`, body, { headers, tags: { name: 'beacon' } });
  count(answer, events.length);
}

export function pixel({ run }) {
  const visit = newVisit();
  const query = {
    site: SITE,
    type: 'pageview',
    event_id: uuidv7(),
    sent_at: Date.now(),
    url: visit.url,
    title: visit.title,
    referrer: visit.referrer,
    'props.run': run,
  };
  const text = Object.keys(query).map((k) => `${k}=${encodeURIComponent(query[k])}`).join('&');
  const headers = { 'User-Agent': visit.agent, Referer: visit.url };
  const answer = http.get(`${COLLECTOR}/p.gif?${text}`, { headers, tags: { name: 'pixel' } });
  count(answer, 1);
}

function count(answer, events) {
  sent.add(events);
  let taken = 0;
  if (answer.status === 204) taken = events;
  if (answer.status === 200) {
    const type = answer.headers['Content-Type'] || '';
    taken = type.includes('json') ? answer.json('accepted') : events;
  }
  accepted.add(taken);
  refused.add(events - taken);
}

const SHOP = 'https://shop.example';
const PAGES = [
  ['/', 'Shop'],
  ['/lamps', 'Lamps'],
  ['/lamps/arc-lamp', 'Arc lamp, brass'],
  ['/chairs/windsor', 'Windsor chair'],
  ['/checkout', 'Checkout'],
  ['/blog/how-to-oil-wood', 'How to oil wood'],
  ['/straße/käse', 'Käse & Brot'],
];
const REFERRERS = [
  '',
  '',
  'https://www.google.com/',
  'https://duckduckgo.com/',
  'https://www.bing.com/',
  'https://news.ycombinator.com/',
  'https://l.facebook.com/',
  'https://shop.example/lamps',
];
const CAMPAIGNS = [
  '',
  '',
  '',
  '?utm_source=newsletter&utm_medium=email&utm_campaign=spring',
  '?utm_source=google&utm_medium=cpc&utm_campaign=lamps&utm_term=brass+lamp&gclid=test',
  '?utm_source=mastodon&utm_medium=social&utm_campaign=launch&utm_content=post-2',
];
const LANGUAGES = ['en-GB', 'en-US', 'de-DE', 'fr-FR', 'es-ES', 'pl-PL', 'ja-JP'];
const SCREENS = [
  { screen_w: 1920, screen_h: 1080, viewport_w: 1903, viewport_h: 947 },
  { screen_w: 2560, screen_h: 1440, viewport_w: 1720, viewport_h: 1290 },
  { screen_w: 1440, screen_h: 900, viewport_w: 1440, viewport_h: 764 },
  { screen_w: 390, screen_h: 844, viewport_w: 390, viewport_h: 664 },
  { screen_w: 412, screen_h: 915, viewport_w: 412, viewport_h: 785 },
];

function newVisit() {
  const [path, title] = pick(PAGES);
  return {
    url: SHOP + encodeURI(path) + pick(CAMPAIGNS),
    title,
    referrer: pick(REFERRERS),
    agent: pick(USER_AGENTS),
    screen: pick(SCREENS),
    pageview_id: uuidv7(),
  };
}

function pageview() {
  return { event_id: uuidv7(), type: 'pageview' };
}

function click() {
  return {
    event_id: uuidv7(),
    type: 'click',
    name: 'add to basket',
    props: { tag: 'button', id: 'buy', text: 'Add to basket', x: whole(1400), y: whole(900) },
  };
}

function form() {
  return {
    event_id: uuidv7(),
    type: 'form',
    name: 'newsletter',
    props: { form_id: 'newsletter', fields: 2, method: 'post' },
  };
}

function custom() {
  return {
    event_id: uuidv7(),
    type: 'custom',
    name: 'purchase',
    revenue: whole(20000) / 100,
    currency: 'EUR',
    props: { order: `o-${whole(1e9)}`, items: [{ sku: 'arc-lamp', n: 1 + whole(3) }], gift: false },
  };
}

function leave() {
  return {
    event_id: uuidv7(),
    type: 'leave',
    engaged_ms: whole(120000),
    scroll_pct: whole(101),
  };
}

function uuidv7() {
  const time = Date.now().toString(16).padStart(12, '0');
  const hex = (digits) => whole(16 ** digits).toString(16).padStart(digits, '0');
  const variant = '89ab'[whole(4)];
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(3)}-${variant}${hex(3)}-${hex(12)}`;
}

function whole(below) {
  return Math.floor(Math.random() * below);
}

function chance(share) {
  return Math.random() < share;
}

function pick(list) {
  return list[whole(list.length)];
}

export function handleSummary(data) {
  const value = (metric, key) => (data.metrics[metric] ? data.metrics[metric].values[key] : 0);
  const summary = {
    run: data.setup_data.run,
    events_sent: value('events_sent', 'count'),
    events_accepted: value('events_accepted', 'count'),
    events_refused: value('events_refused', 'count'),
    requests: value('http_reqs', 'count'),
    requests_per_second: value('http_reqs', 'rate'),
    failed_share: value('http_req_failed', 'rate'),
    p50_ms: value('http_req_duration', 'med'),
    p95_ms: value('http_req_duration', 'p(95)'),
    p99_ms: value('http_req_duration', 'p(99)'),
    max_ms: value('http_req_duration', 'max'),
    dropped_iterations: value('dropped_iterations', 'count'),
  };
  const text = JSON.stringify(summary, null, 2) + '\n';
  const files = { stdout: text };
  if (__ENV.SUMMARY) files[__ENV.SUMMARY] = text;
  return files;
}
