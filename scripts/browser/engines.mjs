// Three engines behind one small interface, so that a scenario is written once.
//
//   open(t, name, {…})    a running 'chromium', 'firefox' or 'webkit' with a fresh profile
//
// An engine has name, version, tab() and, where it is driven by puppeteer, browser. A tab has
//
//   goto(url)             until the page has loaded
//   run(fn, ...args)      the JSON value of fn in the page; promises are awaited
//   click(selector, { button: 'left' | 'middle' })   a real click in the middle of the element
//   type(selector, text)  real key presses
//   back()                asks for the entry before, as a page can: who calls waits for it
//   url(), close()
//   inner                 puppeteer's page, or selenium's driver
//
// Chromium and Firefox are driven by puppeteer, WebKitGTK by selenium through WebKitWebDriver
// on a display of Xvfb. All are Debian's packages; CHROMIUM and FIREFOX name others.
import fs from 'node:fs';
import puppeteer from 'puppeteer-core';
import { Builder, By, Capabilities, Key } from 'selenium-webdriver';
import { atEnd, chromium, directory, freePort, start } from './lib.mjs';

export const ENGINES = { chromium: openChromium, firefox: openFirefox, webkit: openWebkit };

export const open = (t, name, options) => ENGINES[name](t, options);

async function openChromium(t, options) {
  const browser = await chromium(t, options);
  return puppeteerEngine('chromium', browser);
}

// Nothing but the tests' own traffic, and no page asks about anything.
const PREFERENCES = {
  'app.update.auto': false,
  'browser.safebrowsing.update.enabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'extensions.getAddons.cache.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'services.settings.server': 'http://127.0.0.1:9/',
  // Driven by a program, Firefox would keep no page in its back/forward cache.
  'fission.bfcacheInParent': true,
  'browser.sessionhistory.max_total_viewers': 8,
};

async function openFirefox(t, { preferences = {} } = {}) {
  const browser = await puppeteer.launch({
    browser: 'firefox',
    executablePath: process.env.FIREFOX || '/usr/bin/firefox-esr',
    headless: true,
    userDataDir: directory(t),
    extraPrefsFirefox: { ...PREFERENCES, ...preferences },
  });
  atEnd(t, () => browser.close());
  return puppeteerEngine('firefox', browser);
}

async function puppeteerEngine(name, browser) {
  return {
    name,
    browser,
    version: await browser.version(),
    tab: async () => puppeteerTab(await browser.newPage()),
  };
}

// The drivers' own way back waits for a load event, which a page out of the back/forward cache
// has not.
const goBack = () => { setTimeout(() => history.back()); };

// puppeteerTab is a tab as scenarios know it, of a browser of their own.
export function puppeteerTab(inner) {
  return {
    inner,
    goto: (url) => inner.goto(url, { waitUntil: 'load' }),
    run: (fn, ...args) => inner.evaluate(fn, ...args),
    click: (selector, options) => inner.click(selector, options),
    type: (selector, text) => inner.type(selector, text),
    back: () => inner.evaluate(goBack),
    url: async () => inner.url(),
    close: () => inner.close(),
  };
}

async function openWebkit(t) {
  const display = await xvfb(t);
  const port = (await freePort()).split(':')[1];
  await start(t, 'WebKitWebDriver', [`--port=${port}`], {
    env: { DISPLAY: display, HOME: directory(t), NO_AT_BRIDGE: '1', GDK_BACKEND: 'x11' },
    port: Number(port),
  });
  const wanted = new Capabilities({
    browserName: 'MiniBrowser',
    'webkitgtk:browserOptions': { binary: miniBrowser(), args: ['--automation'] },
  });
  const driver = await new Builder()
    .usingServer(`http://127.0.0.1:${port}`)
    .withCapabilities(wanted)
    .build();
  atEnd(t, () => driver.quit());
  const capabilities = await driver.getCapabilities();
  return {
    name: 'webkit',
    version: `WebKitGTK ${capabilities.getBrowserVersion()}`,
    tab: () => webkitTab(driver),
  };
}

// Xvfb chooses a free display by itself and says which.
async function xvfb(t) {
  const options = ['-displayfd', '1', '-screen', '0', '1440x900x24', '-nolisten', 'tcp'];
  const { match } = await start(t, 'Xvfb', options, { line: /^(\d+)$/ });
  return `:${match[1]}`;
}

function miniBrowser() {
  const dirs = fs.readdirSync('/usr/lib').flatMap((arch) => [
    `/usr/lib/${arch}/webkit2gtk-4.1/MiniBrowser`,
    `/usr/lib/${arch}/webkit2gtk-4.0/MiniBrowser`,
  ]);
  return dirs.find((file) => fs.existsSync(file));
}

// A window each, because WebKitGTK hides a tab behind the one before it. The driver speaks to
// one at a time: each call goes to its own first.
async function webkitTab(driver) {
  await driver.switchTo().newWindow('window');
  const handle = await driver.getWindowHandle();
  const on = (act) => async (...args) => {
    await driver.switchTo().window(handle);
    return act(...args);
  };
  const find = (selector) => driver.findElement(By.css(selector));
  return {
    inner: driver,
    goto: on((url) => driver.get(url)),
    run: on((fn, ...args) => driver.executeScript(`return (${fn})(...arguments)`, ...args)),
    click: on(async (selector, { button = 'left' } = {}) => {
      const actions = driver.actions().move({ origin: await find(selector) });
      const code = { left: 0, middle: 1 }[button];
      await actions.press(code).release(code).perform();
    }),
    type: on(async (selector, text) => (await find(selector)).sendKeys(text.replaceAll('\n', Key.ENTER))),
    back: on(() => driver.executeScript(`return (${goBack})()`)),
    url: on(() => driver.getCurrentUrl()),
    close: on(async () => {
      await driver.close();
      await driver.switchTo().window((await driver.getAllWindowHandles())[0]);
    }),
  };
}
