// The live view. Every text in an event was written by a stranger: it reaches the page through
// textContent only, and the page's policy (Trusted Types) makes the browser refuse other ways.
(function () {
  'use strict';

  const ROWS_MAX = 200;
  const HELD_MAX = 200; // events kept while paused
  const SECONDS = 60;
  const MINUTE = SECONDS * 1000; // ms
  const CLOCKS_DIFFER = 2000; // ms; below it the delay of the first message explains it

  const TYPES = ['pageview', 'click', 'form', 'custom', 'leave', 'email_open', 'email_click'];
  const DETAILS = [
    ['url', 'URL'], ['title', 'Title'], ['referrer', 'Referrer'], ['hostname', 'Hostname'],
    ['language', 'Language'], ['visitor_id', 'Visitor'], ['session_id', 'Session'],
    ['event_id', 'Event'],
  ];

  const $ = (id) => document.getElementById(id);
  const list = $('events');
  const seen = new Set(); // ids of the rows here: a new stream begins with events of the old one
  let held = [];
  let paused = false;
  let filter = '';
  let skew = 0; // this clock minus the server's
  let source = null;
  let retry = 0;
  let arrivals = []; // {at, loaded, shown} of the last minute; at is by the server's clock

  const now = () => Date.now() - skew;

  function el(tag, className, text) {
    const e = document.createElement(tag);
    if (className) e.className = className;
    if (text !== undefined) e.textContent = text;
    return e;
  }

  function span(ms) {
    if (ms === null) return '–';
    if (ms < 1000) return Math.max(0, Math.round(ms)) + ' ms';
    if (ms < 60000) return (ms / 1000).toFixed(1) + ' s';
    if (ms < 5400000) return Math.round(ms / 60000) + ' min';
    return Math.round(ms / 3600000) + ' h';
  }

  function clock(ms) {
    const two = (n) => String(n).padStart(2, '0');
    const d = new Date(ms);
    return two(d.getHours()) + ':' + two(d.getMinutes()) + ':' + two(d.getSeconds());
  }

  const known = (type) => (TYPES.includes(type) ? type : 'other');

  function delayPart(label, ms) {
    const e = el('span', 'ms', span(ms));
    e.dataset.pace = ms === null ? 'none' : ms < 1000 ? 'quick' : ms < 5000 ? 'fair' : 'slow';
    e.title = 'received → ' + label;
    return e;
  }

  function summary(ev, delay) {
    const s = el('summary');
    const at = ev.received_at || ev.occurred_at;
    const time = el('time', 'time', clock(at));
    time.dateTime = new Date(at).toISOString();
    const type = el('span', 'type ' + known(ev.type), ev.type.replace('_', ' '));
    const what = el('span', 'what');
    what.append(el('span', 'main', ev.name || ev.path || ev.url || '–'));
    const sub = ev.name ? ev.path : ev.title;
    if (sub) what.append(el('span', 'sub', sub));
    const client = el('span', 'client',
      [ev.browser, ev.os, ev.device].filter(Boolean).join(' · ') || '–');
    if (ev.bot) client.prepend(el('span', 'bot', 'bot'));
    const ms = el('span', 'delay');
    ms.append(delayPart('loaded', delay.loaded), delayPart('shown', delay.shown));
    s.append(time, type, what, el('span', 'site', ev.site),
      el('span', 'country', ev.country || '–'), client,
      el('span', 'transport', ev.transport || '–'), ms);
    return s;
  }

  function pair(name, value) {
    const d = el('div');
    d.append(el('dt', '', name), el('dd', '', value));
    return d;
  }

  function body(ev) {
    const dl = el('dl', 'more');
    const props = ev.props && typeof ev.props === 'object' ? Object.entries(ev.props) : [];
    for (const [key, value] of props) {
      const d = pair(key, typeof value === 'string' ? value : JSON.stringify(value));
      d.className = 'prop';
      dl.append(d);
    }
    for (const [key, name] of DETAILS) if (ev[key]) dl.append(pair(name, ev[key]));
    return dl;
  }

  function row(ev, delay, fresh) {
    const li = el('li', fresh ? 'fresh' : '');
    li.dataset.type = known(ev.type);
    li.dataset.id = ev.event_id;
    const details = el('details');
    details.append(summary(ev, delay));
    // Built when opened: most rows never are.
    details.addEventListener('toggle', () => {
      if (details.open && !details.querySelector('dl')) details.append(body(ev));
    });
    li.append(details);
    return li;
  }

  function show(ev, isNew) {
    if (seen.has(ev.event_id)) return;
    const loaded = ev.loaded_at && ev.received_at ? ev.loaded_at - ev.received_at : null;
    const shown = isNew && ev.received_at ? now() - ev.received_at : null;
    // An event from before the page was loaded counts too, at its own time.
    const at = isNew ? now() : ev.received_at;
    if (at > now() - MINUTE) arrivals.push({ at: at, loaded: loaded, shown: shown });
    if (arrivals.length > 5000) arrivals.shift();
    const li = row(ev, { loaded: loaded, shown: shown }, isNew);
    if (paused) hold(li);
    else insert(li);
  }

  function insert(li) {
    li.hidden = filter !== '' && li.dataset.type !== filter;
    seen.add(li.dataset.id);
    list.prepend(li);
    while (list.childElementCount > ROWS_MAX) {
      seen.delete(list.lastElementChild.dataset.id);
      list.lastElementChild.remove();
    }
    $('empty').hidden = true;
  }

  function hold(li) {
    seen.add(li.dataset.id);
    held.push(li);
    if (held.length > HELD_MAX) seen.delete(held.shift().dataset.id);
    $('pause').textContent = 'Resume (' + held.length + ')';
  }

  function togglePause() {
    paused = !paused;
    $('pause').setAttribute('aria-pressed', String(paused));
    $('pause').textContent = paused ? 'Resume' : 'Pause';
    if (!paused) {
      held.forEach(insert);
      held = [];
    }
  }

  function setFilter(type) {
    filter = type;
    for (const b of $('filters').children) b.setAttribute('aria-pressed', b.dataset.type === type);
    for (const li of list.children) li.hidden = type !== '' && li.dataset.type !== type;
  }

  function makeFilters() {
    for (const type of ['', ...TYPES]) {
      const b = el('button', type, type ? type.replace('_', ' ') : 'all');
      b.type = 'button';
      b.dataset.type = type;
      b.setAttribute('aria-pressed', String(type === ''));
      b.addEventListener('click', () => setFilter(type));
      $('filters').append(b);
    }
  }

  function setState(state, text, banner) {
    $('state').dataset.state = state;
    $('state').textContent = text;
    $('banner').hidden = !banner;
    $('banner').textContent = banner || '';
  }

  function setStatus(status) {
    if (status.database === 'away') {
      setState('away', 'PostgreSQL is away',
        'PostgreSQL does not answer. Events are still accepted and will show when it is back.');
    } else setState('live', 'Live');
  }

  function median(values) {
    const v = values.filter((x) => x !== null).sort((a, b) => a - b);
    return v.length ? v[Math.floor(v.length / 2)] : null;
  }

  function drawMeters() {
    const end = now();
    arrivals = arrivals.filter((a) => a.at > end - MINUTE);
    $('meter-rate').textContent = arrivals.length;
    $('meter-loaded').textContent = span(median(arrivals.map((a) => a.loaded)));
    $('meter-shown').textContent = span(median(arrivals.map((a) => a.shown)));
    const bars = new Array(SECONDS).fill(0);
    for (const a of arrivals) {
      bars[SECONDS - 1 - Math.min(SECONDS - 1, Math.max(0, Math.floor((end - a.at) / 1000)))]++;
    }
    const top = Math.max(4, ...bars);
    bars.forEach((n, i) => {
      const bar = $('chart').children[i];
      bar.style.height = n ? Math.max(8, (100 * n) / top) + '%' : '';
      bar.classList.toggle('some', n > 0);
    });
  }

  function connect() {
    disconnect();
    const stream = new EventSource('/live/events');
    source = stream;
    const on = (name, take) => stream.addEventListener(name, (m) => take(JSON.parse(m.data)));
    on('hello', (hello) => {
      const difference = Date.now() - hello.now;
      skew = Math.abs(difference) > CLOCKS_DIFFER ? difference : 0;
    });
    on('status', setStatus);
    on('past', (ev) => {
      show(ev, false);
      drawMeters(); // or they would say 0 for a second above fresh rows
    });
    on('event', (ev) => show(ev, true));
    on('jump', () => {
      $('banner').hidden = false;
      $('banner').textContent = 'More events than can be shown: going on with the newest.';
    });
    stream.onerror = () => {
      setState('lost', 'Reconnecting', 'The live view lost its connection and is trying again.');
      // A browser gives up by itself after an answer like 503.
      if (stream.readyState === EventSource.CLOSED) retry = setTimeout(connect, 2000);
    };
  }

  function disconnect() {
    clearTimeout(retry);
    if (source) source.close();
    source = null;
  }

  // An open stream keeps the page around it out of the back/forward cache.
  addEventListener('pagehide', disconnect);
  addEventListener('pageshow', (e) => { if (e.persisted && !source) connect(); });
  // A browser opens six connections to a server at most: panels of tabs in the background must
  // not use them up. The full view keeps its stream, somebody may come back to read it.
  if (document.documentElement.classList.contains('embedded')) {
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) disconnect();
      else if (!source) connect();
    });
  }

  for (let i = 0; i < SECONDS; i++) $('chart').append(el('i'));
  makeFilters();
  $('pause').addEventListener('click', togglePause);
  setInterval(drawMeters, 1000);
  connect();
})();
