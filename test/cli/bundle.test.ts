import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Rig } from './rig.ts';

/** What `npm run build` makes and people run; the other tests of this folder run the sources. */
const TOP = join(import.meta.dirname, '../..');
const BUILT = join(TOP, 'dist/apps/cli/main.js');

let rig: Rig;
beforeAll(() => {
  rig = new Rig('bundle');
  rig.folder('source');
});
afterAll(() => rig.dispose());

/** Files that a run of the built command loads, in its own process and in its threads. */
function loaded(name: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): string[] {
  const coverage = rig.path(`coverage-${name}`);
  const { status, stderr } = rig.exec(process.execPath, [BUILT, ...args], {
    ...env,
    NODE_V8_COVERAGE: coverage,
  });
  expect(status, stderr).toBe(0);
  const urls = readdirSync(coverage).flatMap((file) =>
    (JSON.parse(readFileSync(join(coverage, file), 'utf8')).result as { url: string }[]).map(
      ({ url }) => url,
    ),
  );
  return [...new Set(urls.filter((url) => url.startsWith('file:')).map((url) => fileURLToPath(url)))];
}

const packages = (files: readonly string[]): string[] => [
  ...new Set(files.flatMap((file) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? [])),
];

test('what only prints loads four files, and no package', () => {
  const files = loaded('version', ['--version']);
  expect(files.map((file) => dirname(file))).toEqual(files.map(() => dirname(BUILT)));
  expect(files.length).toBeLessThanOrEqual(4);
});

test('a backup loads few files, and of the packages those with native code alone', () => {
  rig.exec(process.execPath, [BUILT, 'backup', rig.path('source')]);
  const files = loaded('backup', ['backup', rig.path('source')]);
  const native = ['koffi', '@koromix/koffi-linux-x64', '@koromix/koffi-linux-arm64', '@napi-rs/blake-hash'];
  expect(packages(files).filter((name) => !native.includes(name))).toEqual([]);
  expect(files.filter((file) => dirname(file) === dirname(BUILT)).length).toBeLessThanOrEqual(20);
  expect(files.filter((file) => /age|pg-boss|worker/.test(basename(file)))).toEqual([]);
});

/** `new URL('./NAME.js', import.meta.url)` looks beside the bundled file that the code is in. */
test('every script that code starts by its name lies in the bundle', () => {
  const sources = readdirSync(join(TOP, 'libs'), { recursive: true, encoding: 'utf8' });
  const names = sources
    .filter((file) => file.endsWith('.ts') && !/\.(test|suite)\.ts$/.test(file))
    .flatMap((file) => [
      ...readFileSync(join(TOP, 'libs', file), 'utf8').matchAll(/'\.ts'\) \? '\.\/[^']+' : '\.\/([^']+)'/g),
    ])
    .map((match) => match[1]!);
  expect(names).toContain('worker.js');
  expect(names.filter((name) => !existsSync(join(dirname(BUILT), name)))).toEqual([]);
});

test('stack traces tell lines of sources', () => {
  const { stderr } = rig.exec(process.execPath, [BUILT, 'backup', rig.path('none'), '--verbose']);
  expect(stderr).toContain(`${join(TOP, 'libs/agent/checked-root.ts')}:`);
});

test('a full backup, a differential and a restore with threads, from the bundle', () => {
  for (let i = 0; i < 40; i++) {
    mkdirSync(rig.path(`source/${i}`));
    writeFileSync(rig.path(`source/${i}/file`), `content ${i}`.repeat(40_000));
  }
  const { status, stderr } = rig.exec(process.execPath, [BUILT, 'backup', rig.path('source')]);
  expect(status, stderr).toBe(0);
  const target = rig.path('target');
  const restored = rig.exec(process.execPath, [BUILT, 'restore', 'latest', '--to', target]);
  expect(restored.status, restored.stderr).toBe(0);
  for (let i = 0; i < 40; i++)
    expect(readFileSync(join(target, `${i}/file`)).equals(readFileSync(rig.path(`source/${i}/file`)))).toBe(
      true,
    );
  const verified = rig.exec(process.execPath, [BUILT, 'verify', '--read-data']);
  expect(verified.status, verified.stderr).toBe(0);
});
