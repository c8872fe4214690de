import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { element, opened, path } from "./browser.mjs";

// recorded gives what a browser event becomes, as it is sent.
async function recorded(t, type, event, rules) {
  const seen = await opened(t, { rules });
  seen.fire(type, event);
  await seen.tick();
  const [found] = seen.events();
  return found && { name: found.name, props: found.props, revenue: found.revenue };
}

const click = (t, el, rules) => recorded(t, "click", path(el), rules);
const submit = (t, target) => recorded(t, "submit", { target });
const link = (href, more) => element("a", { href, ...more }, { text: " Read \n more " });

for (const [href, name, sent] of [
  ["https://other.example/x?token=1#f", "outbound", "https://other.example/x"],
  ["app://open/x?token=1", "outbound", "app://open/x"],
  ["/files/look.PDF?v=2", "download", "https://shop.example/files/look.PDF"],
  ["/get?file=look.pdf", "download", "https://shop.example/get"],
  ["https://other.example/a.tar.gz", "download", "https://other.example/a.tar.gz"],
  ["mailto:hi@shop.example?body=x", "mailto", "mailto:hi@shop.example"],
  ["tel:+49123", "tel", "tel:+49123"],
]) {
  test(`a click on ${href} is ${name}`, async (t) => {
    const { name: found, props } = await click(t, link(href, { id: "l" }));
    assert.equal(found, name);
    assert.deepEqual(props, { id: "l", href: sent, text: "Read more" });
  });
}

for (const href of ["/two", "#part", "javascript:void 0", "blob:https://shop.example/1.pdf"]) {
  test(`a click on ${href} is nothing`, async (t) => {
    assert.equal(await click(t, link(href)), undefined);
  });
}

for (const [rule, href] of [
  ["OUTBOUND", "https://other.example/"],
  ["DOWNLOAD", "/a.pdf"],
  ["CONTACT", "tel:1"],
]) {
  test(`without the rule ${rule} a click on ${href} is nothing`, async (t) => {
    assert.equal(await click(t, link(href), { [rule]: false }), undefined);
  });
}

test("the download attribute makes any link a download", async (t) => {
  assert.equal((await click(t, link("/export", { download: "" }))).name, "download");
});

test("an element with data-event is counted with its own properties", async (t) => {
  const button = element("button", {
    "data-event": "buy",
    "data-event-sku": "42",
    "data-event-revenue": "49.90",
    class: "b",
  });
  const { name, props, revenue } = await click(
    t,
    element("span", {}, { parent: button, text: "typed" }),
  );
  assert.equal(name, "buy");
  assert.equal(revenue, "49.90");
  assert.deepEqual(props, { sku: "42" });
});

test("the innermost of two counts, once", async (t) => {
  const section = element("section", { "data-event": "hero" });
  const out = element("a", { href: "https://other.example/" }, { parent: section });
  assert.equal((await click(t, out)).name, "outbound");
});

test("data-event goes before the kind of the link", async (t) => {
  const marked = element("a", { href: "https://other.example/", "data-event": "partner" });
  assert.equal((await click(t, marked)).name, "partner");
});

for (const [button, name] of [
  [0, "tel"],
  [1, "tel"],
  [2, undefined],
]) {
  test(`button ${button} makes ${name}`, async (t) => {
    const found = await recorded(t, "auxclick", { ...path(link("tel:1")), button });
    assert.equal((found || {}).name, name);
  });
}

test("a form is described by its attributes", async (t) => {
  const target = element("form", {
    id: "news",
    name: "newsletter",
    action: "/thanks?token=1",
    method: "POST",
    "data-event-place": "footer",
  });
  const { name, props } = await submit(t, target);
  assert.equal(name, "news");
  assert.deepEqual(props, {
    form_id: "news",
    form_action: "/thanks",
    place: "footer",
  });
});

test("a form without a name is called by its action", async (t) => {
  assert.equal((await submit(t, element("form"))).name, "/a");
});

test("a form is called by its data-event first", async (t) => {
  assert.equal((await submit(t, element("form", { "data-event": "ask" }))).name, "ask");
});

test("a click in a form with data-event is no event: its submit is", async (t) => {
  const target = element("form", { "data-event": "ask" });
  assert.equal(await click(t, element("input", {}, { parent: target })), undefined);
});

test("form.submit() of a script is one event, also after a submit that was stopped", async (t) => {
  const seen = await opened(t);
  const [one, two] = [element("form", { id: "one" }), element("form", { id: "two" })];
  HTMLFormElement.prototype.submit.call(one);
  seen.fire("submit", { target: two });
  HTMLFormElement.prototype.submit.call(two);
  await seen.tick();
  assert.deepEqual(seen.events().map((e) => e.name), ["one", "two"]);
});

// The fake elements throw on every property but a few, so the tests above hold
// the rule for what they reach; this one holds it for the rest of the source.
test("the source has no word that could read a field's value", async () => {
  for (const file of ["clicks", "forms"]) {
    const source = await readFile(new URL(`../src/${file}.js`, import.meta.url), "utf8");
    for (const word of [".value", "FormData", ".elements", "innerText", "innerHTML", "checked"]) {
      assert.ok(!source.includes(word), word);
    }
  }
});
