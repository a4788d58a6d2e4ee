import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { afterAll, beforeAll, test } from '../needs.ts';
import { expectSame, type Line, MAIN, Rig, run } from '../rebuild/rig.ts';

const rig = new Rig('damage');
const source = rig.path('source');
const HOME = 'home';

const packs = (): Set<string> =>
  new Set(
    run('find', join(rig.store, 'packs'), '-type', 'f')
      .split('\n')
      .filter((line) => line !== ''),
  );
const keys = (): Set<string> => new Set(readdirSync(join(rig.store, 'keys', 'data')));
const findings = (lines: readonly Line[]) =>
  lines.filter(({ type, notice }) => type === 'finding' && !notice);
const hits = (lines: readonly Line[]) =>
  new Set(findings(lines).flatMap(({ path, label }) => (path ? [`${path} of ${label}`] : [])));
const problems = (lines: readonly Line[]) =>
  new Set(lines.flatMap(({ type, path }) => (type === 'error' ? [path] : [])));

const lateFiles = ['late/f0', 'late/f1', 'late/f2', 'late/f3'];
let first = '';

beforeAll(() => {
  for (const folder of ['early', 'late']) mkdirSync(join(source, folder), { recursive: true });
  for (let i = 0; i < 3000; i++) writeFileSync(join(source, 'early', `f${i}`), randomBytes(20_000));
  first = rig.done(HOME, 'backup', source).last.label!;
});

/** A backup whose pack and data key hold new files in `late`, and nothing else but its run. */
function backUpLate(): { label: string; pack: string; key: string } {
  const [packsBefore, keysBefore] = [packs(), keys()];
  for (const path of lateFiles) writeFileSync(join(source, path), randomBytes(700_000));
  const label = rig.done(HOME, 'backup', source).last.label!;
  const [pack] = [...packs()].filter((one) => !packsBefore.has(one));
  const [key] = [...keys()].filter((one) => !keysBefore.has(one));
  chmodSync(pack!, 0o600);
  return { label, pack: pack!, key: join(rig.store, 'keys', 'data', key!) };
}

afterAll(() => rig.close());

/** Restores a backup of what the source is now: the files named are missing, all others are there. */
function expectRestoredBut(missing: readonly string[], label: string): void {
  const target = rig.path(`of-${label}`);
  const { status, lines, text } = rig.tidemark(HOME, ['restore', label, '--to', target]);
  expect(status, text).toBe(3);
  expect(problems(lines)).toEqual(new Set(missing));
  for (const path of missing) expect(existsSync(join(target, path))).toBe(false);
  expect(run('find', target, '-name', '.tidemark-*')).toBe('');
  const excludes = missing.map((path) => `--exclude=/${path}`);
  expect(
    run('rsync', '-niHAXrlpgoD', '--checksum', '--delete', ...excludes, `${source}/`, `${target}/`),
  ).toBe('');
}

test('a missing pack: restore and verify name the files that it hits in every backup, and no others', () => {
  const { label, pack } = backUpLate();
  const full = rig.done(HOME, 'backup', source, '--full').last.label!;
  renameSync(pack, rig.path('pack'));
  expectRestoredBut(lateFiles, label);
  const { status, lines } = rig.tidemark(HOME, ['verify']);
  expect(status).toBe(4);
  expect(findings(lines)[0]).toMatchObject({ code: 'TM1205', object: pack.slice(rig.store.length + 1) });
  const expected = [label, full].flatMap((one) => lateFiles.map((path) => `${path} of ${one}`));
  expect(hits(lines)).toEqual(new Set(expected));
  renameSync(rig.path('pack'), pack);
  expect(rig.tidemark(HOME, ['verify']).status).toBe(4); // what was found is remembered
  rig.done(HOME, 'verify', '--read-data'); // until it is proven whole
  rig.done(HOME, 'verify');
  expect(rig.done(HOME, 'backup', source, '--full').last.newBytes).toBe(0);
});

test('a flipped byte in a frame: only the files of that frame are hit; the next differential puts its blocks anew', () => {
  const { label, pack } = backUpLate();
  const bytes = readFileSync(pack);
  bytes[5000]! ^= 1;
  writeFileSync(pack, bytes);
  const { status, lines } = rig.tidemark(HOME, ['verify', '--read-data']);
  expect(status).toBe(4);
  expect(findings(lines).filter(({ object, block }) => object && block).length).toBeGreaterThan(0);
  const hit = [...hits(lines)].map((one) => one.split(' ')[0]!);
  expect(hit.length).toBeGreaterThan(0);
  expect(hit.length).toBeLessThan(lateFiles.length);
  expectRestoredBut(hit, label);
  expect(rig.tidemark(HOME, ['verify']).status).toBe(4); // it is remembered without reading
  const again = rig.done(HOME, 'backup', source).last;
  expect(again).toMatchObject({ kind: 'differential', added: 0, changed: 0, metadata: 0, deleted: 0 });
  expect(again.newBytes).toBeGreaterThan(0);
  expect(again.newBytes).toBeLessThan(2_800_000);
  expect(rig.done(HOME, 'backup', source).last.newBytes).toBe(0);
  rig.done(HOME, 'restore', label, '--to', rig.path('healed'));
  expectSame(source, rig.path('healed'));
  bytes[5000]! ^= 1;
  writeFileSync(pack, bytes);
  expect(rig.done(HOME, 'verify', '--read-data').last).toMatchObject({ findings: 0 });
});

test('a truncated pack is named, and what lies before its end is restored', () => {
  const { label, pack } = backUpLate();
  const whole = readFileSync(pack);
  truncateSync(pack, whole.length - 1_000_000);
  const target = rig.path('cut');
  const { status, lines } = rig.tidemark(HOME, ['restore', label, '--to', target]);
  expect(status).toBe(3);
  const missing = [...problems(lines)];
  expect(missing.length).toBeGreaterThan(0);
  expect(missing.length).toBeLessThan(lateFiles.length);
  expect(missing.every((path) => lateFiles.includes(path as string))).toBe(true);
  expect(readdirSync(join(target, 'early'))).toHaveLength(3000);
  const verified = rig.tidemark(HOME, ['verify']);
  expect(verified.status).toBe(4);
  expect(findings(verified.lines)[0]).toMatchObject({ code: 'TM1206' });
  writeFileSync(pack, whole);
  rig.done(HOME, 'verify', '--read-data');
});

test('a missing data key is named, and what other keys open is restored', () => {
  const { label, key } = backUpLate();
  renameSync(key, rig.path('key'));
  const { status, lines } = rig.tidemark(HOME, ['verify']);
  expect(status).toBe(4);
  expect(findings(lines)[0]).toMatchObject({ code: 'TM1404', object: key.slice(rig.store.length + 1) });
  expect(hits(lines)).toEqual(new Set(lateFiles.map((path) => `${path} of ${label}`)));
  expectRestoredBut(lateFiles, label);
  renameSync(rig.path('key'), key);
  rig.done(HOME, 'verify', '--read-data');
});

test('an object that nobody knows is told without being damage; a part of the data is read where asked', () => {
  const unknown = join(rig.store, 'packs', 'ff', 'f'.repeat(64));
  mkdirSync(join(rig.store, 'packs', 'ff'), { recursive: true });
  writeFileSync(unknown, 'x');
  const said = rig.done(HOME, 'verify', '--read-data=100%');
  expect(said.lines.filter(({ notice }) => notice)).toMatchObject([{ object: `packs/ff/${'f'.repeat(64)}` }]);
  const { packs: all, packsRead } = said.last as unknown as { packs: number; packsRead: number };
  expect(packsRead).toBe(all);
  const part = rig.tidemark(HOME, ['verify', '--read-data=20%']).last;
  expect(part).toMatchObject({ packs: all, packsRead: Math.ceil(all * 0.2) });
  for (const part of ['0%', '101%', 'x'])
    expect(rig.tidemark(HOME, ['verify', `--read-data=${part}`])).toMatchObject({
      status: 2,
      last: { code: 'TM1002' },
    });
});

test('another journal object that is missing or altered, of whichever writer, is found', () => {
  const journal = run('find', join(rig.store, 'journal'), '-type', 'f').trim().split('\n').sort();
  const victim = journal[1]!;
  const whole = readFileSync(victim);
  chmodSync(victim, 0o600);
  writeFileSync(victim, Buffer.from(whole.map((byte, i) => (i === 200 ? byte ^ 1 : byte))));
  const { status, lines } = rig.tidemark(HOME, ['verify']);
  expect(status).toBe(4);
  expect(
    findings(lines).some(({ code, object }) => code === 'TM1212' && victim.endsWith(object as string)),
  ).toBe(true);
  writeFileSync(victim, whole);
  rig.done(HOME, 'verify', '--read-data');
});

test('a store that goes away in the middle ends the restore with one error, and no file is half', async () => {
  const target = rig.path('unplugged');
  const args = [MAIN, 'restore', first, '--to', target, '--json'];
  const child = spawn(process.execPath, args, { env: rig.env(HOME), stdio: ['ignore', 'pipe', 'ignore'] });
  let text = '';
  child.stdout.on('data', (more) => {
    text += more;
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  while (child.exitCode === null && !existsSync(join(target, 'early')))
    await new Promise((resolve) => setImmediate(resolve));
  renameSync(rig.store, rig.path('away'));
  const status = await ended;
  renameSync(rig.path('away'), rig.store);
  const errors = text.split('\n').filter((line) => line.includes('"type":"error"'));
  expect(errors).toHaveLength(1);
  expect(JSON.parse(errors[0]!).code).toMatch(/^TM120[12]$/);
  expect([1, 10]).toContain(status);
  expect(run('find', target, '-name', '.tidemark-*')).toBe('');
  for (const name of readdirSync(join(target, 'early')))
    expect(readFileSync(join(target, 'early', name)).equals(readFileSync(join(source, 'early', name)))).toBe(
      true,
    );
});
