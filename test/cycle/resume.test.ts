import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { type Line, Place, type Result } from '../command.ts';
import { afterAll, beforeAll, test } from '../needs.ts';
import { expectSame } from '../rebuild/rig.ts';

const MAIN = join(import.meta.dirname, '../../apps/cli/main.ts');
const MIB = 1024 * 1024;
const BIG_BYTES = 24 * MIB;
/** Enough that what is on its way to the store when the kill hits (three packs, the workers' blocks) is a small part. */
const FILES = 500;
const FILE_BYTES = MIB;
const TOTAL = BIG_BYTES + FILES * FILE_BYTES;
/** What a backup reads besides the source: its program, the registry's answers, its own state. */
const OWN_BYTES = 40 * MIB;

let place: Place;
let source: string;

beforeAll(async () => {
  place = await Place.make('resume');
  source = place.path('source');
  mkdirSync(source);
  writeFileSync(join(source, 'a-big-one'), randomBytes(BIG_BYTES));
  for (let i = 0; i < FILES; i++) writeFileSync(join(source, `file-${1000 + i}`), randomBytes(FILE_BYTES));
  symlinkSync('a-big-one', join(source, 'link'));
  for (const name of readdirSync(source)) if (name !== 'link') utimesSync(join(source, name), 1e9, 1e9);
}, 120_000);

afterAll(() => place.dispose());

const hints = (): string[] =>
  readdirSync(join(place.home, 'agent')).filter((name) => name.endsWith('.hints'));

/** Starts a full and kills it once it says that it has read so many bytes. */
async function killAt(bytes: number): Promise<void> {
  const running = place.start(['backup', source, '--full', '--limit-upload', '64M']);
  let said = '';
  running.child.stdout!.on('data', (text: string) => {
    said += text;
    if (Number(lastProgress(said)?.bytesDone ?? 0) >= bytes) running.kill();
  });
  const { status, text } = await running.ended;
  expect(status, text).toBe(null);
}

const lastProgress = (text: string): Line | undefined =>
  text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Line)
    .findLast(({ type }) => type === 'progress');

/** A command and the bytes that it got by read(2) and the like, from any file or socket. */
function counted(args: readonly string[]): Result & { readonly read: number } {
  const line = '"$@"; status=$?; cat /proc/$$/io >&2; exit $status';
  const { status, stdout, stderr } = spawnSync(
    'sh',
    ['-c', line, 'sh', process.execPath, MAIN, ...args, '--json'],
    { env: place.env, encoding: 'utf8' },
  );
  const lines = stdout
    .trim()
    .split('\n')
    .map((text) => JSON.parse(text) as Line);
  const read = Number(/^rchar: (\d+)$/m.exec(stderr)?.[1]);
  return { status, lines, last: lines.at(-1)!, text: stdout + stderr, read };
}

async function expectRestored(label: string): Promise<void> {
  const target = place.path(`restored-${label}`);
  await place.ok(['restore', label, '--to', target]);
  expectSame(source, target);
}

test('a full that was killed at 70 % is made up for by reading the rest', { timeout: 240_000 }, async () => {
  await killAt(TOTAL * 0.7);
  expect(hints()).toHaveLength(1);
  const changed = join(source, 'file-1000');
  writeFileSync(changed, randomBytes(FILE_BYTES));
  utimesSync(changed, 1e9, 1e9); // only the ctime tells
  const { status, last, lines, text, read } = counted(['backup', source, '--full']);
  expect(status, text).toBe(0);
  const resumed = Number(lines.find(({ type }) => type === 'resumed')?.bytes);
  expect(resumed).toBeGreaterThan(TOTAL * 0.5);
  expect(resumed).toBeLessThan(TOTAL - FILE_BYTES);
  expect(read).toBeGreaterThan(TOTAL - resumed);
  expect(read).toBeLessThan(TOTAL - resumed + OWN_BYTES);
  expect(last).toMatchObject({ kind: 'full', problems: 0, files: FILES + 1, bytes: TOTAL });
  expect(hints()).toEqual([]);
  await expectRestored(last.label!);
});

test('the full after a full that was committed reads everything', { timeout: 120_000 }, () => {
  const { status, lines, read, text } = counted(['backup', source, '--full']);
  expect(status, text).toBe(0);
  expect(lines.find(({ type }) => type === 'resumed')).toBeUndefined();
  expect(read).toBeGreaterThan(TOTAL);
});

test('blocks that the store has lost since are read again', { timeout: 240_000 }, async () => {
  for (const name of readdirSync(source)) {
    if (name !== 'link') writeFileSync(join(source, name), randomBytes(statSync(join(source, name)).size));
  }
  await killAt(TOTAL * 0.7);
  expect(hints()).toHaveLength(1);
  // What the dead run stored belongs to no backup.
  await place.ok(['prune']);
  const { status, last, lines, text } = counted(['backup', source, '--full']);
  expect(status, text).toBe(0);
  expect(Number(lines.find(({ type }) => type === 'resumed')?.bytes ?? 0)).toBeLessThan(TOTAL * 0.2);
  expect(last).toMatchObject({ problems: 0, bytes: TOTAL });
  await expectRestored(last.label!);
});
