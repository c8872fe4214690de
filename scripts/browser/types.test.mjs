// The types of the package: that they take what README.md shows, refuse what cannot be meant,
// and name what the module has.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { directory } from './lib.mjs';

const PACKAGE = fileURLToPath(new URL('../../snippet/npm', import.meta.url));
const TSC = fileURLToPath(new URL('node_modules/.bin/tsc', import.meta.url));

const USE = `import { init, footfall, type Core, type Event, type Footfall, type Props } from "footfall";

declare global {
  interface Window { footfall: Footfall }
}

init({ site: "shop", endpoint: "https://c.shop.example/e" });
init({ site: "shop", endpoint: "/e", session: "tab", auto: "false", consent: "wait", transport: "beacon" });
footfall("signup");
footfall("signup", { plan: "pro", tags: ["a", 1, null], nested: { on: true } });
footfall("purchase", { items: 2 }, { revenue: 49.9, currency: "EUR", callback: (taken) => { const yes: boolean | undefined = taken; void yes; } });
footfall.page();
footfall.page({ step: "shipping" });
footfall.identify("u7");
footfall.identify(null);
footfall.set({ plan: "pro" });
footfall.consent("yes");
footfall.off();
footfall.off(false);
footfall.use((core: Core) => {
  core.before.push((event: Event) => event.type !== "click");
  core.before.push((event: Event, drafted?: boolean) => { event.props.drafted = drafted; });
  core.record("custom", { name: "n", props: { a: 1 } });
  const host: string = core.endpoint.host;
  const site: string | undefined = core.data.site;
  void [host, site];
});
window.footfall.page({ from: "the tag" } satisfies Props);

// @ts-expect-error a site is needed
init({ endpoint: "https://c.shop.example/e" });
// @ts-expect-error no such state
footfall.consent("maybe");
// @ts-expect-error a name is needed
footfall();
// @ts-expect-error properties are an object
footfall("signup", "pro");
// @ts-expect-error no such call
footfall.track("signup");
// @ts-expect-error no such attribute
init({ site: "shop", endpoint: "/e", storage: "local" });
`;

test('the types take what README.md shows and refuse what cannot be meant', (t) => {
  const dir = directory(t);
  fs.mkdirSync(path.join(dir, 'node_modules'));
  fs.symlinkSync(PACKAGE, path.join(dir, 'node_modules/footfall'));
  fs.writeFileSync(path.join(dir, 'use.ts'), USE);
  for (const [module, resolution] of [['esnext', 'bundler'], ['nodenext', 'nodenext']]) {
    fs.writeFileSync(path.join(dir, 'package.json'), '{"type": "module"}');
    fs.writeFileSync(path.join(dir, 'tsconfig.json'), JSON.stringify({
      compilerOptions: {
        strict: true, noEmit: true, target: 'es2022', lib: ['es2022', 'dom'], types: [], module,
        moduleResolution: resolution, exactOptionalPropertyTypes: true,
      },
      files: ['use.ts'],
    }));
    const { status, stdout } = spawnSync(TSC, ['-p', dir], { encoding: 'utf8' });
    assert.equal(status, 0, stdout);
  }
});

test('the types name what the module has', async () => {
  const module = await import(path.join(PACKAGE, 'index.js'));
  const types = fs.readFileSync(path.join(PACKAGE, 'index.d.ts'), 'utf8');
  const exported = [...types.matchAll(/^export (?:function|const) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(exported.sort(), Object.keys(module).sort());
  const calls = [...types.match(/interface Footfall \{([^]*?)\n\}/)[1].matchAll(/^ {2}(\w+)\(/gm)];
  assert.deepEqual(calls.map(([, name]) => name).sort(), Object.keys(module.footfall).sort());
});
