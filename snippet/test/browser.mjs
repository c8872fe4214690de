// The smallest browser that the snippet runs in. Each call makes a fresh one and
// returns what a test looks at: the requests, the warnings and the listeners.

export function browser(t, { tag = {}, answer = () => ({ status: 204 }), ...page } = {}) {
  const seen = { fetches: [], beacons: [], pixels: [], warnings: [], listeners: {} };
  const listen = (type, fn) => (seen.listeners[type] = seen.listeners[type] || []).push(fn);
  const globals = {
    VERSION: "1",
    innerWidth: 1200,
    innerHeight: 500,
    scrollY: 0,
    screen: { width: 1920, height: 1080 },
    location: new URL("https://shop.example/a?q=1#part"),
    history: { pushState: go, replaceState: go },
    document: {
      addEventListener: listen,
      currentScript: { src: "https://collector.example/f.js", dataset: { site: "shop", ...tag } },
      documentElement: { scrollHeight: 2000 },
      baseURI: "https://shop.example/a",
      querySelector: () => null,
      hidden: false,
      referrer: "https://search.example/",
      title: "A page",
      ...page.document,
    },
    navigator: {
      language: "en-GB",
      sendBeacon: (url, body) => seen.beacons.push({ url, ...JSON.parse(body) }) > 0,
      ...page.navigator,
    },
    Image: class {
      set src(src) {
        const { searchParams } = new URL(src);
        seen.pixels.push({ image: this, src: String(src), ...Object.fromEntries(searchParams) });
      }
    },
    fetch: async (url, options) => {
      seen.fetches.push({ url, options, ...JSON.parse(options.body) });
      const { status, headers } = await answer(seen.fetches.length);
      return { status, headers: new Headers(headers) };
    },
    addEventListener: listen,
    footfall: page.stub,
    sessionStorage: page.sessionStorage,
  };
  function go(state, title, url) {
    globals.location.href = new URL(url, globals.location);
  }
  for (const [name, value] of Object.entries(globals)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
  globalThis.window = globalThis;
  t.mock.method(console, "warn", (...args) => seen.warnings.push(args.join(" ")));
  t.mock.timers.enable({ apis: ["setTimeout"] });
  seen.fire = (type, event = {}) => (seen.listeners[type] || []).forEach((fn) => fn(event));
  seen.tick = async (ms = 0) => {
    t.mock.timers.tick(ms);
    // Answers come in promises; a turn of the loop settles them all.
    for (let i = 0; i < 3; i++) await new Promise(setImmediate);
  };
  seen.events = () => seen.fetches.flatMap((request) => request.events);
  return seen;
}

let loads = 0;

// load runs the whole snippet once more, as a page load would.
export const load = () => import(`../src/main.js?${++loads}`);

// element is a DOM element with its attributes and nothing that holds a value:
// whoever reaches for one gets an error.
export function element(localName, attributes = {}, { text = "", parent } = {}) {
  const known = {
    localName,
    textContent: text,
    getAttribute: (name) => attributes[name] ?? null,
    hasAttribute: (name) => name in attributes,
    getAttributeNames: () => Object.keys(attributes),
    matches: (selector) =>
      selector
        .split(",")
        .some((part) => part === localName || (part === localName + "[href]" && attributes.href)),
    closest: (selector) => {
      for (let el = self; el; el = el.parent) if (el.matches(selector)) return el;
      return null;
    },
    parent,
  };
  const self = new Proxy(known, {
    get(target, name) {
      if (name in target) return target[name];
      throw new Error(`reads ${String(name)} of <${localName}>`);
    },
  });
  return self;
}

export function path(el) {
  const elements = [];
  for (let at = el; at; at = at.parent) elements.push(at);
  return { button: 0, composedPath: () => [...elements, globalThis.document] };
}
