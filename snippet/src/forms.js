import { address, send } from "./clicks.js";
import { guard } from "./guard.js";
import { touch } from "./pages.js";

const idOf = (el) => el.getAttribute("id") || el.getAttribute("name");
const nameOf = (form) => form.getAttribute("data-event") || idOf(form) || address(form, "action").pathname;

export let sent;

// submit says which form it is, never what was typed into it: no field is looked at.
export const submit = (form) => {
  touch();
  sent = form;
  send("form", form, nameOf(form), {
    form_action: address(form, "action").pathname,
    form_id: form.getAttribute("id"),
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
