// Events that say how a page is used and where it fails, all of type custom:
//
//	click      a click on a button or link that is no event otherwise: selector
//	rage_click three clicks within a second on one element: selector
//	dead_click a click on a button or link after which nothing happened: selector
//	error      an uncaught error or rejection: message, file, line; each once, ten at most
//	copy       text was copied: how many characters, never which
//	print      the page was printed
//
// A form event carries field_ms, how long each field had the focus. No text that the
// visitor typed, copied or selected is read.
import { guard, on } from "../guard.js";

const RAGE = 1000; // ms in which three clicks are one rage
const DEAD = 1500; // ms in which a click has to show
const ERRORS = 10; // of one page

guard(() =>
  footfall.use(({ record, before }) => {
    let moved = 0;
    new MutationObserver(() => {
      moved = performance.now();
    }).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
    const stir = () => {
      moved = performance.now();
    };
    on({
      scroll: stir,
      pagehide: stir,
      popstate: stir,
      visibilitychange: stir,
      // Of the window: a dialog of the browser's, or another tab.
      blur: ({ target }) => target === window && stir(),
    });

    const count = (name, props) => record("custom", { name, props });

    // At most three steps, by what the page's author wrote: names, not contents.
    function selector(el) {
      const steps = [];
      for (let at = el; at && at.localName && steps.length < 3; at = at.parentElement) {
        const id = at.getAttribute("id");
        const role = at.getAttribute("class");
        steps.unshift(at.localName + (id ? "#" + id : role ? "." + role.trim().split(/\s+/)[0] : ""));
        if (id) break;
      }
      return steps.join(">").slice(0, 200);
    }

    let clicks = [];

    on({
      click(event) {
        const path = event.composedPath();
        const el = path.find((at) => at.matches && at.matches("a,button,input,summary,[role=button]"));
        const now = performance.now();
        clicks = clicks.filter((c) => c.at === path[0] && now - c.time < RAGE);
        clicks.push({ at: path[0], time: now });
        if (clicks.length === 3) count("rage_click", { selector: selector(path[0]) });
        if (!el || el.matches("[data-event]")) return;
        const found = { selector: selector(el) };
        count("click", found);
        if (!el.matches("input:not([type=submit],[type=button])")) {
          setTimeout(guard(() => moved < now && count("dead_click", found)), DEAD);
        }
      },
      error: ({ message, filename, lineno }) => message && failed(message, filename, lineno),
      unhandledrejection: ({ reason }) => failed((reason || {}).message || reason),
      copy: () => count("copy", { characters: String(getSelection()).length }),
      beforeprint: () => count("print"),
      focusin: ({ target }) => {
        leaveField();
        if (target.form) field = { form: target.form, name: target.getAttribute("name"), since: performance.now() };
      },
      focusout: () => leaveField(),
    });

    const told = {};
    function failed(message, file, line) {
      const text = String(message).slice(0, 200);
      if (told[text] || Object.keys(told).length >= ERRORS) return;
      told[text] = 1;
      count("error", { message: text, file: file && file.split(/[?#]/)[0], line });
    }

    let field;
    let spent = {};
    function leaveField() {
      if (field && field.name) {
        const ms = Math.round(performance.now() - field.since);
        spent[field.name] = (spent[field.name] || 0) + ms;
      }
      field = 0;
    }
    before.push((event) => {
      if (event.type !== "form") return;
      leaveField();
      if (Object.keys(spent)[0]) event.props.field_ms = spent;
      spent = {};
    });
  }),
)();
