// The smallest browser that the snippet runs in. Each call makes a fresh one and
// returns what a test looks at: the requests, the warnings and the listeners.

import { register } from "node:module";

register("./fresh.mjs", import.meta.url);

// What the build sets, see snippet/rules.go: the counting rules with their defaults.
const RULES = {
  AUTO: true, SPA: true, REPLACE: true, QUERY: true, HASH: false, BFCACHE: true, UNSEEN: false,
  LEAVE: true, FOCUS: true, CLICKS: true, OUTBOUND: true, DOWNLOAD: true, CONTACT: true,
  FORMS: true, FIELDS: true, ZONE: true, FRAMES: false, LOCAL: false, GPC: true, DNT: false, WARN: false,
  VERSION: "2", ENDPOINT: "e", PIXEL: "p.gif", SCRIPT: "f", EDITION: null,
};

export function browser(t, { tag = {}, answer = () => ({ status: 204 }), ...page } = {}) {
  const seen = { fetches: [], beacons: [], pixels: [], sent: [], warnings: [], listeners: {} };
  // What went out, whichever way: the texts of the events, for each body.
  const note = (body) => {
    const parsed = JSON.parse(body);
    seen.sent.push(...parsed.events.map((e) => [e.event_id, JSON.stringify(e)]));
    return parsed;
  };
  const listen = (type, fn) => (seen.listeners[type] = seen.listeners[type] || []).push(fn);
  const globals = {
    ...RULES,
    ...page.rules,
    top: globalThis,
    self: globalThis,
    HTMLFormElement: class {
      submit() {}
    },
    requestAnimationFrame: (fn) => setTimeout(fn, 0),
    localStorage: page.localStorage,
    innerWidth: 1200,
    innerHeight: 500,
    scrollY: 0,
    screen: { width: 1920, height: 1080 },
    location: new URL(page.url || "https://shop.example/a?q=1#part"),
    history: { pushState: go, replaceState: go },
    document: {
      addEventListener: listen,
      currentScript: { src: "https://collector.example/f.js", dataset: { site: "shop", ...tag } },
      documentElement: { scrollHeight: 2000 },
      baseURI: "https://shop.example/a",
      scripts: [],
      hidden: false,
      hasFocus: () => true,
      referrer: "https://search.example/",
      title: "A page",
      ...page.document,
    },
    navigator: {
      language: "en-GB",
      onLine: true,
      vendor: "Google Inc.",
      onLine: true,
      vendor: "Google Inc.",
      sendBeacon: (url, body) => seen.beacons.push({ url: String(url), ...note(body) }) > 0,
      ...page.navigator,
    },
    Image: class {
      set src(src) {
        const { searchParams } = new URL(src);
        const { events, ...envelope } = note(searchParams.get("json"));
        seen.pixels.push({ image: this, src: String(src), ...envelope, events });
      }
    },
    fetch: async (url, options) => {
      seen.fetches.push({ url: String(url), options, ...note(options.body) });
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
  // As in a browser, what is no number is 0; the mock's timer would never end.
  const { setTimeout: mocked } = globalThis;
  globalThis.setTimeout = (fn, ms) => mocked(fn, Number(ms) || 0);
  seen.fire = (type, event = {}) => (seen.listeners[type] || []).forEach((fn) => fn(event));
  seen.tick = async (ms = 0) => {
    t.mock.timers.tick(ms);
    // Frames and answers come in promises that put something off until the next task: a few
    // turns of the loop settle them all.
    for (let i = 0; i < 4; i++) {
      for (let j = 0; j < 3; j++) await new Promise(setImmediate);
      t.mock.timers.tick(0);
    }
  };
  seen.events = () => seen.fetches.flatMap((request) => request.events);
  return seen;
}

let loads = 0;

// load runs the whole snippet once more, as a page load would.
export const load = () => import(`../src/main.js?${++loads}`);

// opened is a page that counts nothing by itself: its core sends what a test adds. exit puts
// the page away.
export async function opened(t, { data, ...page } = {}) {
  const tag = { auto: "false", endpoint: "https://collector.example/in/e", ...data };
  const seen = browser(t, { ...page, tag });
  await load();
  footfall.use((core) => Object.assign(seen, { core, add: core.add }));
  await seen.tick();
  seen.exit = () => seen.fire("pagehide");
  return seen;
}

// element is a DOM element with its attributes and nothing that holds a value:
// whoever reaches for one gets an error.
export function element(localName, attributes = {}, { text = "", parent } = {}) {
  const known = {
    localName,
    textContent: text,
    getAttribute: (name) => attributes[name] ?? null,
    hasAttribute: (name) => name in attributes,
    getAttributeNames: () => Object.keys(attributes),
    baseURI: globalThis.document?.baseURI,
    matches: (selector) =>
      selector
        .split(",")
        .some((part) => part === localName || (part === ":any-link" && attributes.href) ||
          (part === ":not(form)[data-event]" && localName !== "form" && "data-event" in attributes)),
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

// path is a browser's event on el.
export function path(el) {
  const elements = [];
  for (let at = el; at; at = at.parent) elements.push(at);
  return { button: 0, composedPath: () => [...elements, globalThis.document] };
}
