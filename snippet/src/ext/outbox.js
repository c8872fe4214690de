// An outbox on the disk. Events that could not be sent, and only those, are kept in
// localStorage, an entry each, until the collector has answered for them: the next page of
// the site takes up what the one before left, under the same ids and with the same text, so
// that an event which arrives twice, from two tabs or after a lost answer, is one row.
//
// Nothing is read or written while consent is "wait"; "no" and off() empty it. It holds the
// newest 500 events of two days less an hour, in a million characters at most: older ones
// the collector would give another id. Where storage is denied or full, events are in
// memory, as they are without this file.
import { encode } from "../batch.js";
import { onConsent } from "../consent.js";
import { guard, on, stored } from "../guard.js";
import { HELD } from "../limits.js";

const PREFIX = "footfall "; // no name of a site has a space
const CHARACTERS = 1e6;
const OLD = 47 * 36e5; // ms; the collector believes an id of the last 48 hours
const EARLY = 6e5; // ms; and one of a clock that is fast by ten minutes
const SOME = 50; // events that are taken up at a time

guard(() =>
  footfall.use((core) => {
    // The entries that this page has in memory too. Those of taking are under way from the
    // disk; when they are through, the next are read.
    let mine = new Set();
    let taking = new Set();

    const allowed = () => !/^(wait|no)$/.test(core.consent) && !localStorage.footfall_off;

    // All entries of this site, the newest first: an id begins with its time.
    const here = PREFIX + core.data.site + " ";
    const entries = () =>
      Object.keys(localStorage)
        .filter((key) => key.startsWith(here))
        .sort()
        .reverse();

    function empty() {
      mine = new Set();
      taking = new Set();
      stored(() => {
        for (const key of Object.keys(localStorage)) {
          if (key.startsWith(PREFIX)) localStorage.removeItem(key);
        }
      });
    }

    const drop = (key) => {
      mine.delete(key);
      stored(() => localStorage.removeItem(key));
    };

    function isTimely(key) {
      const age = Date.now() - parseInt(key.slice(here.length).replace("-", "").slice(0, 12), 16);
      return age < OLD && age > -EARLY;
    }

    // trim drops what is too old or too much, and returns the rest.
    function trim() {
      let room = CHARACTERS;
      return entries().filter((key, i) => {
        room -= (localStorage.getItem(key) || "").length;
        const fits = i < HELD && room >= 0 && isTimely(key);
        if (!fits) localStorage.removeItem(key);
        return fits;
      });
    }

    // settled is called when the collector has answered, or nobody can know: then the entry
    // stays, for another page.
    const settled = (key, callback) => (taken) => {
      if (taken !== undefined) {
        drop(key);
        if (taking.delete(key) && !taking.size) stored(take);
      }
      if (callback) callback(taken);
    };

    // pending is what nobody has answered for, the newest of it; failing says that the last try
    // was in vain.
    const pending = new Set();
    const met = new WeakSet();
    let failing = false;
    function watch(event) {
      if (met.has(event)) return;
      met.add(event);
      const { callback } = event;
      pending.add(event);
      if (pending.size > HELD) pending.delete(pending.values().next().value);
      event.callback = (taken) => {
        pending.delete(event);
        if (taken) failing = false;
        if (callback) callback(taken);
      };
    }
    // A draft is nobody's yet, see later.js.
    core.before.push((event, drafted) => drafted || watch(event));

    // keep writes what is tried again later, the newest first: room may run out.
    function keep() {
      if (!allowed()) return;
      let room = CHARACTERS;
      for (const event of [...pending].reverse()) {
        const text = encode(event.sealed);
        room -= text.length;
        const key = here + event.sealed.event_id;
        if (room < 0 || mine.has(key)) continue;
        mine.add(key);
        event.callback = settled(key, event.callback);
        stored(() => localStorage.setItem(key, text));
      }
      trim();
    }

    // take hands entries of earlier pages to the core, the oldest first. One that somebody
    // else has written over must not spoil the batch that it would travel in.
    function take() {
      if (!allowed() || taking.size) return;
      for (const key of trim().reverse()) {
        if (taking.size === SOME) break;
        if (mine.has(key)) continue;
        const text = localStorage.getItem(key);
        if (stored(() => here + JSON.parse(text).event_id) !== key) {
          drop(key);
          continue;
        }
        mine.add(key);
        taking.add(key);
        core.add({ sealed: JSON.parse(text), callback: settled(key) });
      }
    }

    const changed = () => (core.consent === "no" ? empty() : stored(take));
    onConsent(core, changed);
    // What the core could not send. Events that went out before this file was here, because the
    // page was put away, are met here first.
    Object.defineProperty(core, "held", {
      set(batch) {
        batch.map(watch);
        failing = true;
        stored(keep);
      },
    });
    // Once the page is put away, no answer may come. The core has sent what there is.
    const leave = () => {
      if (failing || !navigator.onLine) stored(keep);
    };
    on({ pagehide: leave, visibilitychange: () => document.hidden && leave() });
    changed();
  }),
)();
