import { address, attribute, named, send } from "./clicks.js";
import { on, patch } from "./guard.js";
import { touch } from "./pages.js";

const idOf = (el) => attribute(el, "id") || attribute(el, "name");
const nameOf = (form) => named(form) || idOf(form) || address(form, "action").pathname;

let sent;

// submit says which form it is, never what was typed into it: no field is looked at.
export function submit(form) {
  sent = form;
  touch();
  send("form", form, nameOf(form), {
    form_id: attribute(form, "id"),
    form_name: attribute(form, "name"),
    form_action: address(form, "action").pathname,
    form_method: attribute(form, "method"),
  });
}

const handlers = { submit: ({ target }) => submit(target) };

// A shadow root keeps its submits to itself, but not where the focus went.
export function focusin(event) {
  const [el] = event.composedPath();
  const root = el.getRootNode();
  if (root.host && !root.footfall) on(handlers, (root.footfall = root));
  if (FIELDS && el.form) touch({ form: nameOf(el.form), field: idOf(el) });
}

export function openForms() {
  on({ ...handlers, focusin });
  // form.submit() of a script has no event. Where it follows one, for a form that
  // was looked over first, that was it.
  patch(HTMLFormElement.prototype, "submit", (form) => form === sent || submit(form));
}
