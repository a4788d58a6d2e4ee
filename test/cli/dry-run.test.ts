import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { afterAll, beforeAll, test } from '../needs.ts';
import { type Line, Rig } from './rig.ts';

const TREE = join(import.meta.dirname, '../cycle/tree.py');

let rig: Rig;
let source: string;

beforeAll(() => {
  rig = new Rig('dry-run');
  source = rig.path('source');
  tree('make', source);
});

afterAll(() => rig.dispose());

function tree(...args: string[]): void {
  const { status, stderr } = spawnSync('python3', [TREE, ...args], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
}

const changesIn = (lines: readonly Line[]): string[] =>
  lines
    .filter((line) => line.type === 'change')
    .map((line) => `${line.op} ${JSON.stringify(line.path)}`)
    .sort();

/** Names, sizes and times of all files in the store and in the agent's state. */
function written(): string[] {
  return ['store', 'agent'].flatMap((part) =>
    readdirSync(join(rig.home, part), { recursive: true, withFileTypes: true }).map((entry) => {
      const path = join(entry.parentPath, entry.name);
      const { size, mtimeMs, ino } = statSync(path);
      return `${path} ${size} ${mtimeMs} ${ino}`;
    }),
  );
}

const COUNTS = [
  'kind',
  'baseline',
  'files',
  'directories',
  'others',
  'bytes',
  'added',
  'changed',
  'metadata',
];
COUNTS.push('deleted', 'unchanged', 'problems');
const countsOf = (line: Line) => Object.fromEntries(COUNTS.map((key) => [key, line[key]]));

/** A dry run, then the backup; gives the dry run's changes. `real` gives those that the backup recorded. */
function both(options: string[], real: (label: string) => string[]): string[] {
  const dry = rig.json(['backup', source, '--dry-run', ...options]);
  const before = rig.json(['backups']).lines.at(-1);
  const backup = rig.json(['backup', source, ...options]);
  expect([dry.status, backup.status], dry.stdout.slice(-500) + backup.stdout).toEqual([0, 0]);
  expect(countsOf(dry.last)).toEqual(countsOf(backup.last));
  expect(rig.json(['backups']).lines.at(-1)!.seq).toBe(((before?.seq as number | undefined) ?? 0) + 1);
  const changes = changesIn(dry.lines);
  expect(changes).toEqual(real(backup.last.label!));
  return changes;
}

test('a dry run says what the backup then records, at every edit of every kind of entry', {
  timeout: 300_000,
}, () => {
  const all = (label: string) =>
    rig
      .json(['ls', label, '--recursive'])
      .lines.map((line) => `added ${JSON.stringify(line.path)}`)
      .sort();
  let previous = '';
  const since = (label: string) => changesIn(rig.json(['diff', previous, label]).lines);
  const latest = () => rig.json(['backups']).lines.at(-1)!.label!;
  expect(both([], all).length).toBeGreaterThan(300);
  for (const round of ['1', '2', '3']) {
    previous = latest();
    tree('edit', round, source);
    expect(both([], since).length).toBeGreaterThan(5);
  }
  previous = latest();
  expect(both([], since)).toEqual([]);
  previous = latest();
  writeFileSync(join(source, 'late/7'), 'late X');
  expect(both(['--full'], since)).toEqual(['changed "late/7"']);
  previous = latest();
  expect(both(['--exclude', 'many/'], since).every((line) => line.startsWith('deleted'))).toBe(true);
});

test('a dry run writes nothing to store or agent state, not even where that has to be made anew', () => {
  const [state] = readdirSync(join(rig.home, 'agent')).filter((name) => name.endsWith('.state'));
  writeFileSync(join(source, 'new'), 'new');
  for (const damage of [() => {}, () => writeFileSync(join(rig.home, 'agent', state!), 'damaged')]) {
    damage();
    const before = written();
    const dry = rig.json(['backup', source, '--dry-run', '--exclude', 'many/']);
    expect(changesIn(dry.lines)).toEqual(['added "new"', 'metadata "."']);
    expect(written()).toEqual(before);
    expect(readdirSync(join(rig.home, 'spool'))).toEqual([]);
  }
});

test('a dry run refuses what the backup refuses', () => {
  const codes = (...args: string[]) => rig.json(['backup', ...args, '--dry-run']).last.code;
  expect(codes(rig.path('nowhere'))).toBe('TM1101');
  expect(codes(rig.home)).toBe('TM1104');
  const emptied = rig.folder('emptied');
  writeFileSync(join(emptied, 'one'), '1');
  expect(codes(emptied, '--differential')).toBe('TM1001');
  expect(rig.json(['backup', emptied]).status).toBe(0);
  spawnSync('rm', [join(emptied, 'one')]);
  expect(codes(emptied)).toBe('TM1105');
  const accepted = rig.json(['backup', emptied, '--dry-run', '--accept-root']);
  expect(changesIn(accepted.lines)).toEqual(['deleted "one"', 'metadata "."']);
});

test('for people it ends in words', () => {
  mkdirSync(join(source, 'another'));
  const { stdout } = rig.run(['backup', source, '--dry-run', '--exclude', 'many/']);
  expect(stdout).toMatch(/^added {4}another$/m);
  expect(stdout).toMatch(/would hold \d+ files, .*; nothing was written\.$/m);
  expect(readFileSync(join(source, 'new'), 'utf8')).toBe('new');
});
