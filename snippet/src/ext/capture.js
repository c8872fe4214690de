// Events that say how a page is used and where it fails, all of type custom:
//
//	click      a click on a button or link that is no event otherwise: selector
//	rage_click three clicks within a second on one element: selector
//	dead_click a click on a button or link after which nothing happened: selector
//	error      an uncaught error or rejection: message, file, line; each once, ten at most
//	copy       text was copied: how many characters, never which
//	print      the page was printed
//
// A form event carries field_ms, how long each field had the focus. No field's value is read,
// and nothing that was typed or selected is sent. Messages of errors may repeat it: they
// are cut at the first quote, and once something was typed only the error's name is sent.
import { on } from "../guard.js";

const RAGE = 1000; // ms in which three clicks are one rage
const DEAD = 1500; // ms in which a click has to show
const ROUGH = 5; // ms that the clocks of a browser may be apart
const ERRORS = 10; // of one page

footfall.use(({ record, before }) => {
  let moved = 0;
  const stir = () => {
    moved = performance.now();
  };
  const observer = new MutationObserver(stir);
  const watch = (root) =>
    observer.observe(root, { subtree: true, childList: true, attributes: true, characterData: true });
  watch(document);
  // Of these the tree shows nothing, or not in time: a dialog of the browser's, another tab,
  // a popover, a page that is slow to come.
  const signs = "scroll pagehide popstate visibilitychange change invalid submit toggle play";
  for (const type of signs.split(" ")) addEventListener(type, stir, true);

  const count = (name, props) => record("custom", { name, props });

  // At most three steps, by what the page's author wrote: names, not contents.
  function selector(el) {
    const steps = [];
    for (let at = el; at?.localName && !steps[2]; at = at.parentElement) {
      const id = at.getAttribute("id");
      const [role] = at.classList;
      steps.unshift(at.localName + (id ? "#" + id : role ? "." + role : ""));
      if (id) break;
    }
    return steps.join(">").slice(0, 200);
  }

  let clicks = [];
  function clicked(event) {
    const path = event.composedPath();
    const el = path.find((at) => at.matches?.("a,button,input,summary,[role=button]"));
    const now = performance.now();
    const [target] = path;
    clicks = clicks.filter(([at, time]) => at === target && now - time < RAGE);
    if (clicks.push([target, now]) === 3) count("rage_click", { selector: selector(target) });
    if (!el || el.matches("[data-event]")) return;
    const found = { selector: selector(el), at: Date.now() - now + event.timeStamp - ROUGH };
    count("click", found);
    delete found.at;
    for (const root of path) if (root.host) watch(root);
    // A field takes the focus; a link leads to another page, unless a script stops it.
    setTimeout(() => {
      const leads = "input:not([type=submit],[type=button])" +
        (event.defaultPrevented ? "" : ",a[href]:not([href^='#'])");
      if (moved < now && !el.matches(leads)) count("dead_click", found);
    }, DEAD);
  }

  let typed;
  const told = new Set();
  function failed(error, message, file, line) {
    // Once something was typed, the name.
    const text = (typed ? error?.name || "Error" : message).replace(/(^|\W)["'`].*/s, "$1…").slice(0, 200);
    const props = { message: text, file: file?.split(/[?#]/)[0], line };
    const key = Object.values(props).join();
    if (told.has(key) || told.size >= ERRORS) return;
    told.add(key);
    count("error", props);
  }

  // field adds to the time of the one that has the focus; times are what each had: form → { name: ms }.
  let field;
  const times = new Map();
  const leaveField = () => {
    if (field) field();
    field = 0;
  };

  on({
    click: clicked,
    // Of the window, not of a field; and of an error, not of an image.
    blur: ({ target }) => target === window && stir(),
    error: ({ error, message, filename, lineno }) => message && failed(error, message, filename, lineno),
    unhandledrejection: ({ reason }) => failed(reason, String(reason?.message ?? reason)),
    input: () => (typed = 1),
    copy: () => count("copy", { characters: String(getSelection()).length }),
    beforeprint: () => count("print"),
    focusin(event) {
      leaveField();
      const [{ form, name }] = event.composedPath();
      if (!form || !name) return;
      const spent = times.get(form) || {};
      const since = performance.now();
      times.set(form, spent);
      field = () => {
        spent[name] = Math.round((spent[name] || 0) + performance.now() - since);
      };
    },
    focusout: leaveField,
  });

  let last = 0;
  before.push((event) => {
    const { event_id, type, name, props } = event;
    // Links that lead elsewhere, or into something with data-event, are events of the core's:
    // it has seen the same click, since it happened.
    if (type === "click") last = parseInt(event_id.replace("-", "").slice(0, 12), 16);
    if (name === "click" && props.selector) {
      if (props.at < last) return false;
      delete props.at;
    }
    if (type !== "form") return;
    leaveField();
    for (const [form, spent] of times) {
      // What the core calls a form by. Attributes: a field called id takes the place of its form's own.
      const calls = ["data-event", "id", "name"].map((attribute) => form.getAttribute(attribute));
      if ((calls.find(Boolean) || props.form_action) === name) {
        props.field_ms = spent;
        times.delete(form);
      }
    }
  });
});
