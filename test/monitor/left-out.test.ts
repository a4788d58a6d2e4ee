import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, onTestFinished } from 'vitest';
import { Place } from '../command.ts';
import { test } from '../needs.ts';
import { caughtUp, expectRestores, Watch } from './rig.ts';
import { makeTree } from './tree.ts';

const TIMEOUT = { timeout: 240_000 };
const TAG = 'Signature: 8a477f597d28d172789f06886806bc55\n';

async function started(place: Place, args: readonly string[]): Promise<Watch> {
  const watch = new Watch(place, [...args, '--every', '1s', '--settle', '200ms']);
  onTestFinished(async () => {
    await watch.stop('SIGKILL');
  });
  await watch.watching();
  return watch;
}

const pathsIn = async (place: Place, label: string, tree: string): Promise<string[]> => {
  const { lines } = await place.ok(['ls', label, '--recursive', '--source', tree]);
  return lines.filter(({ type }) => type === 'entry').map(({ path }) => String(path));
};

test(
  'excludes hold for what is noticed: options, a file of them, .tidemarkignore and CACHEDIR.TAG',
  TIMEOUT,
  async () => {
    const place = await Place.make('left-out');
    onTestFinished(() => place.dispose());
    const tree = place.path('tree');
    const at = (...names: string[]) => join(tree, ...names);
    for (const dir of ['logs', 'some', 'cache', 'later', 'tagged']) mkdirSync(at(dir), { recursive: true });
    writeFileSync(place.path('excludes'), 'logs/\n');
    writeFileSync(at('some', '.tidemarkignore'), 'secret*\n');
    writeFileSync(at('cache', 'CACHEDIR.TAG'), TAG);
    for (const dir of ['later', 'tagged']) writeFileSync(at(dir, 'f'), 'x');
    const excludes = ['--exclude', '*.tmp', '--exclude-from', place.path('excludes')];
    const watch = await started(place, [tree, ...excludes]);

    const leftOut = [['a.tmp'], ['logs', 'log'], ['some', 'secret-1'], ['cache', 'cached']];
    for (const names of leftOut) writeFileSync(at(...names), 'x');
    mkdirSync(at('some', 'secret-2'));
    writeFileSync(at('some', 'secret-2', 'f'), 'x');
    await caughtUp(place, tree);
    for (const names of leftOut) appendFileSync(at(...names), 'more');
    await caughtUp(place, tree);
    const made = watch.commits.slice(1);
    // Their folders have other times by now; nothing in them counts.
    expect(made.map(({ added, changed, newBytes }) => [added, changed, newBytes])).toEqual(
      made.map(() => [0, 0, 0]),
    );

    writeFileSync(at('later', '.tidemarkignore'), 'f\n');
    writeFileSync(at('tagged', 'CACHEDIR.TAG'), TAG);
    writeFileSync(at('some', 'kept'), 'x');
    const label = await caughtUp(place, tree);
    const paths = await pathsIn(place, label, tree);
    expect(paths.filter((path) => path.includes('/')).sort()).toEqual(
      [
        'cache/CACHEDIR.TAG',
        'later/.tidemarkignore',
        'some/.tidemarkignore',
        'some/kept',
        'tagged/CACHEDIR.TAG',
      ].sort(),
    );
    expect(await watch.stop(), watch.told).toBe(0);
    const { last } = await place.ok(['backup', tree, ...excludes]);
    expect(last).toMatchObject({ added: 0, changed: 0, metadata: 0, deleted: 0 });
  },
);

test('home, store and registry in the folder are neither watched nor backed up', TIMEOUT, async () => {
  const place = await Place.make('own');
  const tree = place.path('tree');
  const home = join(tree, 'd0', 'home');
  onTestFinished(() => place.dispose(home));
  makeTree(tree, 50);
  Object.assign(place.env, {
    TIDEMARK_HOME: home,
    TIDEMARK_STORE: pathToFileURL(join(tree, 'store')).href,
  });
  const watch = await started(place, [tree]);
  await caughtUp(place, tree);
  const before = watch.commits.length;
  // Each question is one for Postgres, too, and `sync` gives events of all that it wrote.
  for (let i = 0; i < 5; i++) await caughtUp(place, tree);
  expect(watch.commits.length).toBe(before);
  appendFileSync(join(tree, 'd0', 'e0', 'f1'), 'x');
  const label = await caughtUp(place, tree);
  expect(watch.commits.at(-1)).toMatchObject({ label, added: 0, changed: 1 });
  const paths = await pathsIn(place, label, tree);
  expect(paths).toContain('d0/e0/f1');
  expect(paths.filter((path) => /^(store|d0\/home)/.test(path))).toEqual([]);
  await watch.stop();
});

test('two watches, one of a folder in the other: each has its own backups, exact', TIMEOUT, async () => {
  const place = await Place.make('nested');
  onTestFinished(() => place.dispose());
  const tree = place.path('tree');
  const inner = join(tree, 'd0');
  makeTree(tree, 200);
  const outerWatch = await started(place, [tree]);
  const innerWatch = await started(place, [inner]);
  appendFileSync(join(inner, 'e0', 'f1'), 'x');
  writeFileSync(join(tree, 'beside'), 'x');
  mkdirSync(join(inner, 'new'));
  writeFileSync(join(inner, 'new', 'f'), 'x');
  const labels = [await caughtUp(place, tree), await caughtUp(place, inner)];
  await outerWatch.stop();
  await innerWatch.stop();
  await expectRestores(place, labels[0]!, tree, tree);
  await expectRestores(place, labels[1]!, inner, inner);
});
