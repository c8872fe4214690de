// The tag through the site's own host: the recipes of snippet/README.md, in the real proxies.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { puppeteerTab } from '../engines.mjs';
import { chromium, directory, freePort, start, until } from '../lib.mjs';

const host = (url) => new URL(url).host;

const PROXIES = {
  nginx: {
    command: '/usr/sbin/nginx',
    args: (dir) => ['-p', dir, '-c', path.join(dir, 'config'), '-g', 'daemon off;'],
    config: ({ listen, collector, pages, dir }) => `
      pid ${dir}/pid; error_log stderr; events {}
      http {
        access_log off; client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy;
        fastcgi_temp_path ${dir}/f; uwsgi_temp_path ${dir}/u; scgi_temp_path ${dir}/s;
        server {
          listen ${listen};
          location /news/ {
            proxy_pass ${collector}/;
            proxy_set_header X-Forwarded-For $remote_addr;
          }
          location / { proxy_pass ${pages}; }
        }
      }`,
  },
  caddy: {
    command: 'caddy',
    args: (dir) => ['run', '--adapter', 'caddyfile', '--config', path.join(dir, 'config')],
    config: ({ listen, collector, pages }) => `
      {
        admin off
        auto_https off
      }
      http://${listen} {
        handle_path /news/* {
          reverse_proxy ${host(collector)}
        }
        handle {
          reverse_proxy ${host(pages)}
        }
      }`,
  },
  'caddy over https': {
    command: 'caddy',
    scheme: 'https',
    args: (dir) => ['run', '--adapter', 'caddyfile', '--config', path.join(dir, 'config')],
    config: ({ listen, collector, pages }) => `
      {
        admin off
        auto_https disable_redirects
        skip_install_trust
      }
      https://${listen} {
        tls internal
        handle_path /news/* {
          reverse_proxy ${host(collector)}
        }
        handle {
          reverse_proxy ${host(pages)}
        }
      }`,
  },
};

const through = (name, { command, args, config, scheme = 'http' }) => ({
  name: `first party through ${name}`,
  engines: ['chromium'],
  pages: {
    '/': { tag: { src: '/news/f.js' }, body: '<a id="next" href="two">two</a>' },
    '/two': { tag: null },
  },
  async run(scene) {
    const [dir, listen] = [directory(scene.t), await freePort()];
    // The pages are on localhost, which these proxies may look up as ::1.
    const to = { listen, dir, collector: scene.wire.origin, pages: scene.abroad };
    fs.writeFileSync(path.join(dir, 'config'), config(to));
    await start(scene.t, command, args(dir), { port: Number(listen.split(':')[1]), env: { HOME: dir } });
    // Of a certificate that nobody knows, for which the browser of the other scenarios is too careful.
    const careless = scheme === 'https' && await chromium(scene.t, { acceptInsecureCerts: true });
    scene.tab = careless ? puppeteerTab(await careless.newPage()) : await scene.open();
    await scene.tab.goto(`${scheme}://${listen}${scene.folder}/`);
    const [view] = await scene.expect(['pageview /']);
    assert.ok(view.url.startsWith(`${scheme}://`), view.url);
    await scene.tab.click('#next');
    await scene.arrive('/two');
    const rows = await scene.expect(['pageview /', 'leave /']);
    assert.deepEqual([...new Set(rows.map((row) => row.hostname))], ['127.0.0.1']);
    const posts = scene.wire.requests('/e');
    await until(1_000, () => 'both requests', () => posts.length === 2);
    assert.ok(posts.every((entry) => entry.site === 'same-origin'), 'to the browser it is the same site');
    assert.equal(posts[0].headers['x-forwarded-for'], '127.0.0.1', 'the visitor is told to the collector');
  },
});

export default Object.entries(PROXIES).map(([name, proxy]) => through(name, proxy));
