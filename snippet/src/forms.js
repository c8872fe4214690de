import { address, attribute, named, send } from "./clicks.js";
import { guard } from "./guard.js";
import { touch } from "./pages.js";

const idOf = (el) => attribute(el, "id") || attribute(el, "name");
const nameOf = (form) => named(form) || idOf(form) || address(form, "action").pathname;

let sent;

// submit says which form it is, never what was typed into it: no field is looked at.
const submit = (form) => {
  sent = form;
  touch();
  send("form", form, nameOf(form), {
    form_id: attribute(form, "id"),
    form_action: address(form, "action").pathname,
  });
};

export const submitted = /* @__PURE__ */ guard((event) => submit(event.target));

// A shadow root keeps its submits to itself, but not where the focus went. One listener
// is added to it, however often it is met.
export const focusin = (event) => {
  const el = event.composedPath()[0];
  const root = el.getRootNode();
  if (root.host) root.addEventListener("submit", submitted, true);
  if (FIELDS && el.form) touch({ form: nameOf(el.form), field: idOf(el) });
};

// form.submit() of a script has no event. Where it follows one, for a form that
// was looked over first, that was it.
export const sentByScript = (form) => form === sent || submit(form);
