import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { capture, click, form } from "../src/capture.js";
import { browser, element, path } from "./browser.mjs";

const link = (href, more) => element("a", { href, ...more }, { text: " Read \n more " });

for (const [href, name, sent] of [
  ["https://other.example/x?token=1#f", "outbound", "https://other.example/x"],
  ["/files/look.PDF?v=2", "download", "https://shop.example/files/look.PDF"],
  ["https://other.example/a.tar.gz", "download", "https://other.example/a.tar.gz"],
  ["mailto:hi@shop.example?body=x", "mailto", "mailto:hi@shop.example"],
  ["tel:+49123", "tel", "tel:+49123"],
]) {
  test(`a click on ${href} is ${name}`, (t) => {
    browser(t);
    const { name: found, props } = click(path(link(href, { id: "l" })));
    assert.equal(found, name);
    assert.deepEqual(props, { id: "l", tag: "a", href: sent, text: "Read more" });
  });
}

test("a click on a page of the same host or on a script is nothing", (t) => {
  browser(t);
  for (const href of ["/two", "#part", "javascript:void 0"]) {
    assert.equal(click(path(link(href))), undefined);
  }
});

test("the download attribute makes any link a download", (t) => {
  browser(t);
  assert.equal(click(path(link("/export", { download: "" }))).name, "download");
});

test("an element with data-event is counted with its own properties", (t) => {
  browser(t);
  const button = element("button", { "data-event": "buy", "data-event-sku": "42", class: "b" });
  const { name, props } = click(path(element("span", {}, { parent: button, text: "typed" })));
  assert.equal(name, "buy");
  assert.deepEqual(props, { id: undefined, tag: "button", sku: "42" });
});

test("the innermost of two counts, once", (t) => {
  browser(t);
  const section = element("section", { "data-event": "hero" });
  const out = element("a", { href: "https://other.example/" }, { parent: section });
  assert.equal(click(path(out)).name, "outbound");
  const marked = element("a", { href: "https://other.example/", "data-event": "partner" });
  assert.equal(click(path(marked)).name, "partner");
});

test("left and middle button count, the right one does not", (t) => {
  const seen = browser(t);
  const recorded = [];
  capture((type, fields) => recorded.push(fields.name));
  for (const button of [1, 2]) seen.fire("auxclick", { ...path(link("tel:1")), button });
  seen.fire("click", path(link("tel:1")));
  assert.deepEqual(recorded, ["tel", "tel"]);
});

test("a form is described by its attributes", (t) => {
  browser(t);
  const target = element("form", {
    id: "news",
    name: "newsletter",
    action: "/thanks?token=1",
    method: "POST",
    "data-event-place": "footer",
  });
  assert.deepEqual(form({ target }), {
    name: "news",
    props: {
      form_id: "news",
      form_name: "newsletter",
      form_action: "/thanks",
      form_method: "post",
      place: "footer",
    },
  });
});

test("a form without a name is called by its action", (t) => {
  browser(t);
  assert.equal(form({ target: element("form") }).name, "/a");
  assert.equal(form({ target: element("form", { "data-event": "ask" }) }).name, "ask");
});

test("a click in a form with data-event is no event: its submit is", (t) => {
  browser(t);
  const target = element("form", { "data-event": "ask" });
  assert.equal(click(path(element("input", {}, { parent: target }))), undefined);
});

// The fake elements throw on every property but a few, so the tests above hold
// the rule for what they reach; this one holds it for the rest of the source.
test("the source has no word that could read a field's value", async () => {
  const source = await readFile(new URL("../src/capture.js", import.meta.url), "utf8");
  for (const word of [".value", "FormData", ".elements", "innerText", "innerHTML", "checked"]) {
    assert.ok(!source.includes(word), word);
  }
});
