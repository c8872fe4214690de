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
// and nothing that was typed or selected is sent. Messages of errors may repeat it: what they
// quote is cut, and once something was typed only the error's name is sent.
import { on } from "../guard.js";

const RAGE = 1000; // ms in which three clicks are one rage
const DEAD = 1500; // ms in which a click has to show
const SAME = 50; // ms between the core's event of a click and ours
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
  const signs = "scroll pagehide popstate visibilitychange change copy invalid submit toggle play";
  for (const type of signs.split(" ")) addEventListener(type, stir, true);

  const count = (name, props) => record("custom", { name, props });

  // At most three steps, by what the page's author wrote: names, not contents.
  function selector(el) {
    const steps = [];
    for (let at = el; at && at.localName && steps.length < 3; at = at.parentElement) {
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
    clicks = clicks.filter(([at, time]) => at === path[0] && now - time < RAGE);
    if (clicks.push([path[0], now]) === 3) count("rage_click", { selector: selector(path[0]) });
    if (!el || el.matches("[data-event]")) return;
    const found = { selector: selector(el) };
    count("click", found);
    for (const root of path) if (root.host) watch(root);
    // A field takes the focus; a link leads to another page, unless a script stops it.
    setTimeout(() => {
      const leads = el.matches("input:not([type=submit],[type=button])") ||
        (el.matches("a[href]:not([href^='#'])") && !event.defaultPrevented);
      if (moved < now && !leads) count("dead_click", found);
    }, DEAD);
  }

  let typed;
  const told = new Set();
  function failed(error, message, file, line) {
    const { name = "Error" } = Object(error);
    // Of one that has no message, and of all once something was typed, the name.
    const text = typed ? name : (message || name).replace(/(^|\W)(["'`]).*?(\2|$)/gs, "$1…").slice(0, 200);
    const props = { message: text, file: file?.split(/[?#]/)[0], line };
    const key = Object.values(props).join();
    if (told.size < ERRORS && !told.has(key) && told.add(key)) count("error", props);
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
    unhandledrejection: ({ reason }) => failed(reason, String(Object(reason).message || reason || "")),
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
    const time = parseInt(event_id.replace("-", "").slice(0, 12), 16);
    // Links that lead elsewhere, or into something with data-event, are events of the core's.
    if (type === "click") last = time;
    if (name === "click" && type === "custom" && props.selector && time - last < SAME) return false;
    if (type !== "form") return;
    leaveField();
    for (const [form, spent] of times) {
      // Attributes: a field called id takes the place of its form's own.
      const is = (attribute) => form.getAttribute(attribute) == props["form_" + attribute];
      if (is("id") && is("name") && times.delete(form)) props.field_ms = spent;
    }
  });
});
