import assert from "node:assert/strict";
import { test } from "node:test";
import { opened as page } from "./browser.mjs";

const ID = "01a213cf-e545-755d-834f-ce410daddcf3";
const now = (shift = 0) => (Math.round(Date.now() / 1000) + shift).toString(36);

// opened is a page with the linker, as it was reached by url.
async function opened(t, { url = "https://shop.example/", data = { session: "tab", link: "pay.example" }, session } = {}) {
  const sessionStorage = session ? { footfall: session } : {};
  const seen = await page(t, { url, sessionStorage, data: { ext: "linker", ...data } });
  await import(`../src/ext/linker.js?${Math.random()}`);
  // click is what a click makes of a link's address.
  seen.click = (href) => {
    const link = { href, matches: (selector) => selector === "a[href]" };
    seen.fire("click", { composedPath: () => [{}, link, document] });
    return link.href;
  };
  seen.session = async () => {
    seen.add({ event_id: "1", type: "custom" });
    await seen.tick(1000);
    const event = seen.events().at(-1);
    return event?.session_id ?? seen.fetches.at(-1)?.session_id;
  };
  return Object.assign(seen, { sessionStorage });
}

test("a link to a host of data-link carries the session and its time", async (t) => {
  const seen = await opened(t, { session: ID });
  const href = new URL(seen.click("https://pay.example/cart?a=1#b"));
  assert.match(href.searchParams.get("_ff"), new RegExp(`^${ID}\\.[\\da-z]+$`));
  assert.equal(href.searchParams.get("a") + href.hash, "1#b");
});

for (const href of ["https://other.example/", "https://shop.example/two", "mailto:a@pay.example",
  "javascript:void(0)", "tel:1"]) {
  for (const link of [undefined, "", "pay.example,"]) {
    test(`${href} is left alone with data-link=${link}`, async (t) => {
      const seen = await opened(t, { session: ID, data: { session: "tab", link } });
      assert.equal(seen.click(href), href);
    });
  }
}

test("without data-session nothing is carried and nothing taken over", async (t) => {
  const url = `https://shop.example/?_ff=${ID}.${now()}`;
  const seen = await opened(t, { url, session: "", data: { link: "pay.example" } });
  assert.equal(seen.click("https://pay.example/"), "https://pay.example/");
  assert.equal(await seen.session(), undefined);
  assert.deepEqual(seen.sessionStorage, {});
});

for (const [what, value, holds] of [
  ["fresh", `${ID}.${now(-60)}`, true],
  ["old", `${ID}.${now(-121)}`, false],
  ["of the future", `${ID}.${now(300)}`, false],
  ["without a time", ID, false],
  ["no id", `<script>.${now()}`, false],
]) {
  test(`a session that is ${what} is ${holds ? "" : "not "}taken over`, async (t) => {
    const seen = await opened(t, { url: `https://pay.example/?_ff=${encodeURIComponent(value)}` });
    const session = await seen.session();
    assert.equal(session === ID, holds);
    assert.equal(seen.sessionStorage.footfall, session);
  });
}

test("before consent nothing is carried, read or stored", async (t) => {
  const data = { session: "tab", link: "pay.example", consent: "wait" };
  const seen = await opened(t, { url: `https://shop.example/?_ff=${ID}.${now()}`, data });
  assert.equal(await seen.session(), undefined);
  assert.deepEqual(seen.sessionStorage, {});
  seen.sessionStorage.footfall = "of another page";
  assert.equal(seen.click("https://pay.example/"), "https://pay.example/");
  footfall.consent("yes");
  await seen.tick();
  assert.equal(seen.events()[0].session_id, ID);
  assert.equal(seen.sessionStorage.footfall, ID);
});
