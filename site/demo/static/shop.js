// The shop's own script. It shows what a site has to do for the tag: nothing, but for the two
// lines that send an event of its own.
(function () {
  'use strict';

  // Calls made before the tag has loaded wait in this queue.
  window.footfall = window.footfall || function () {
    (window.footfall.q = window.footfall.q || []).push(arguments);
  };

  const $ = (id) => document.getElementById(id);
  const euro = (n) => '€' + n.toFixed(2);

  // The shop's memory for this tab: the basket and whether the panel is open. It is written
  // only when somebody clicks; the tag itself stores nothing.
  const memory = {
    read(key) {
      try { return JSON.parse(sessionStorage.getItem('longway.' + key)); } catch { return null; }
    },
    write(key, value) {
      try { sessionStorage.setItem('longway.' + key, JSON.stringify(value)); } catch { /* off */ }
    },
  };

  function basket() {
    const lines = memory.read('basket');
    return Array.isArray(lines) ? lines : [];
  }

  function showCount() {
    const n = basket().reduce((sum, line) => sum + line.quantity, 0);
    $('cart-count').textContent = n;
    $('cart-count').hidden = n === 0;
  }

  function addToBasket(event) {
    const d = event.currentTarget.dataset;
    const price = Number(d.price);
    window.footfall('add_to_cart', {
      sku: d.sku, price: price, currency: d.currency, quantity: 1,
    });
    const lines = basket();
    const line = lines.find((l) => l.sku === d.sku);
    if (line) line.quantity++;
    else {
      lines.push({
        sku: d.sku, name: d.name, price: price, image: d.image, tint: d.tint, quantity: 1,
      });
    }
    memory.write('basket', lines);
    showCount();
    $('cart-status').textContent = d.name + ' is in your basket.';
  }

  function element(tag, className, text) {
    const e = document.createElement(tag);
    e.className = className;
    if (text !== undefined) e.textContent = text;
    return e;
  }

  function lineElement(line) {
    const li = element('li', 'line');
    const tile = element('span', 'tile ' + line.tint);
    const img = element('img', '');
    img.src = '/static/' + encodeURIComponent(line.image);
    img.alt = '';
    img.width = img.height = 64;
    tile.append(img);
    const name = element('span', 'line-name', line.name);
    name.append(element('small', '', 'Quantity ' + line.quantity));
    li.append(tile, name, element('span', 'line-price', euro(line.price * line.quantity)));
    return li;
  }

  function showBasket() {
    const lines = basket();
    if (lines.length === 0) return; // the page comes with a pair of socks in it
    $('cart-lines').replaceChildren(...lines.map(lineElement));
    $('cart-total').textContent = euro(lines.reduce((s, l) => s + l.price * l.quantity, 0));
  }

  async function subscribe(event) {
    event.preventDefault();
    const form = event.currentTarget;
    const status = $('newsletter-status');
    status.textContent = 'Sending…';
    try {
      const answer = await fetch(form.action, {
        method: 'POST',
        headers: { Accept: 'application/json' },
        body: new URLSearchParams(new FormData(form)),
      });
      status.textContent = answer.ok ? 'Thank you. The first walk is on its way.' :
        'That did not work. Please try again.';
      if (answer.ok) form.reset();
    } catch {
      status.textContent = 'The shop cannot be reached just now.';
    }
  }

  // One page, three views: the address changes by pushState, the server answers each of them
  // too, so that a reload stays where it was.
  function showView(path) {
    for (const view of document.querySelectorAll('[data-view]')) {
      view.hidden = view.dataset.view !== path;
      if (!view.hidden) document.title = view.dataset.title;
    }
    for (const link of document.querySelectorAll('[data-spa]')) {
      if (link.pathname === path) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
    }
  }

  function openView(event) {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    const path = event.currentTarget.pathname;
    if (path === location.pathname) return;
    history.pushState({}, '', path);
    showView(path);
  }

  // The live view loads only when it can be seen: a phone does not pay for a closed panel.
  const wide = matchMedia('(min-width: 1180px)');

  function showPanel() {
    const choice = memory.read('panel');
    const open = wide.matches ? choice !== 'closed' : choice === 'open';
    const frame = $('live-frame');
    document.documentElement.classList.toggle('panel-open', open);
    document.documentElement.classList.toggle('panel-closed', !open);
    $('live-toggle').setAttribute('aria-expanded', String(open));
    $('live-toggle').setAttribute('aria-label', open ? 'Hide live events' : 'Show live events');
    if (open && !frame.src) frame.src = frame.dataset.src;
    if (!open && frame.src) frame.removeAttribute('src');
  }

  function togglePanel() {
    const open = document.documentElement.classList.contains('panel-open');
    memory.write('panel', open ? 'closed' : 'open');
    // Without storage the choice holds for this page.
    if (memory.read('panel') === null) {
      memory.read = () => (open ? 'closed' : 'open');
    }
    showPanel();
  }

  function on(id, type, handler) {
    if ($(id)) $(id).addEventListener(type, handler);
  }

  on('add-to-cart', 'click', addToBasket);
  on('newsletter', 'submit', subscribe);
  on('live-toggle', 'click', togglePanel);
  for (const link of document.querySelectorAll('[data-spa]')) {
    link.addEventListener('click', openView);
  }
  if ($('spa')) addEventListener('popstate', () => showView(location.pathname));
  if ($('cart-lines')) showBasket();
  wide.addEventListener('change', showPanel);
  showCount();
  showPanel();
})();
