// What `footfall snippet` prints, put into a page as it is.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { binary, until } from '../lib.mjs';

// printed returns the blocks of the output by the first words of their comments.
function printed(scene) {
  const out = execFileSync(binary(), ['snippet', '--collector', scene.wire.origin], { encoding: 'utf8' });
  const blocks = out.split(/<!-- /).slice(1).map((block) => block.split(' -->\n'));
  const of = (word) => blocks.find(([comment]) => comment.startsWith(word))[1];
  return { moving: of('follows'), pinned: of('or pinned'), map: of('and, with data-ext'), pixel: of('for browsers') };
}

const withCapture = (tag) => tag.replace('data-site', 'data-ext="capture" data-site');
const pinned = (scene) => {
  const { map, pinned: tag } = printed(scene);
  return { '/': { tag: null, head: map + withCapture(tag), body: '<button type="button" id="b">b</button>' } };
};
const asked = (scene) => until(5_000, () => 'the extension', () =>
  scene.wire.log.some(({ path, status }) => /^\/f-capture\./.test(path) && status === 200));

export default [
  {
    name: 'printed: the tag that follows new versions, and the pixel beside it',
    pages: (scene) => ({ '/': { tag: null, head: printed(scene).moving, body: printed(scene).pixel } }),
    async run(scene) {
      await scene.visit('/');
      await scene.expect(['pageview /']);
    },
  },
  {
    name: 'printed: the pinned tag, and the integrity of its extensions',
    pages: pinned,
    async run(scene) {
      await scene.visit('/');
      await asked(scene);
      await scene.expect(['pageview /']);
      await scene.tab.click('#b');
      await scene.expect(['pageview /', 'custom click /', 'custom dead_click /']);
    },
  },
  {
    name: 'printed: an extension that is not the pinned one does not run, events arrive',
    pages: (scene) => ({ ...pinned(scene), '/free': { tag: null, head: withCapture(printed(scene).pinned) } }),
    async run(scene) {
      scene.wire.answer = ({ path }) => /^\/f-capture\./.test(path) && { status: 200, body: 'window.stranger = 1',
        headers: { 'Content-Type': 'text/javascript', 'Access-Control-Allow-Origin': '*' } };
      await scene.visit('/');
      await asked(scene);
      await scene.expect(['pageview /']);
      assert.equal(await scene.tab.run(() => typeof window.stranger), 'undefined');

      await scene.visit('/free'); // without the map it would
      await until(5_000, () => 'the stranger', () => scene.tab.run(() => window.stranger));
      await scene.expect(['pageview /', 'leave /', 'pageview /free']);
    },
  },
];
