import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { afterAll, beforeAll, test } from '../needs.ts';
import { MAIN, Rig, run } from '../rebuild/rig.ts';

const rig = new Rig('race');
const source = rig.path('source');
const outside = rig.path('outside');
const HOME = 'home';
const SWAP = join(import.meta.dirname, 'swap.py');
/** Only outside holds it. */
const MARKER = 'never-to-be-read-or-written';
const FILES = ['f0', 'f1', 'f2', 'sub/f0', 'sub/f1'];
/** Milliseconds of racing; and after which a command counts as hanging. */
const RACE = 6000;
const HANGS = 60_000;

function makeTree(root: string, content: (path: string) => string): void {
  for (let i = 0; i < 4; i++) {
    mkdirSync(join(root, `d${i}`, 'sub'), { recursive: true });
    for (const file of FILES) writeFileSync(join(root, `d${i}`, file), content(`d${i}/${file}`));
  }
}

/** All that can be told of a tree but access times. */
const portrait = (root: string): string =>
  run(
    'sh',
    '-c',
    `cd ${root} && find . -printf '%p %y %m %U %G %s %T@ %C@ %n\\n' | sort && find . -type f -exec cksum {} + | sort`,
  );

async function racing(root: string, work: () => void): Promise<number> {
  const swapper = spawn('python3', [SWAP, root, outside], { stdio: ['pipe', 'pipe', 'inherit'] });
  let said = '';
  swapper.stdout.on('data', (text) => {
    said += text;
  });
  const ended = new Promise((resolve) => swapper.once('close', resolve));
  try {
    const end = Date.now() + RACE;
    do work();
    while (Date.now() < end);
  } finally {
    swapper.stdin.end('\n');
    await ended;
  }
  return Number(said);
}

/** Runs the command, which must end by itself: well, or with problems that it names. */
function raced(...args: string[]): void {
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args, '--json'], {
    env: rig.env(HOME),
    encoding: 'utf8',
    timeout: HANGS,
    killSignal: 'SIGKILL',
  });
  expect(signal, `${args.join(' ')} hangs: ${stdout}${stderr}`).toBeNull();
  expect([0, 3], `${args.join(' ')}: ${stdout}${stderr}`).toContain(status);
}

beforeAll(() => {
  makeTree(source, (path) => `inside ${path}`);
  mkdirSync(join(outside, 'sub'), { recursive: true });
  for (const file of FILES) writeFileSync(join(outside, file), `${MARKER} ${file}`);
});

afterAll(() => rig.close());

test('a source that is swapped for symlinks and fifos while it is read: nothing of outside gets into a backup', {
  timeout: 240_000,
}, async () => {
  const before = portrait(outside);
  rig.done(HOME, 'backup', source);
  const swaps = await racing(source, () => raced('backup', source, '--full', '--accept-root'));
  expect(swaps).toBeGreaterThan(50);
  expect(portrait(outside)).toBe(before);
  const labels = rig.done(HOME, 'backups').lines.map(({ label }) => label!);
  expect(labels.length).toBeGreaterThan(1);
  for (const label of labels) {
    const target = rig.path(`of-${label}`);
    raced('restore', label, '--to', target);
    expect(spawnSync('grep', ['-r', MARKER, target]).status).toBe(1);
    rmSync(target, { recursive: true });
  }
});

test('a target that is swapped for symlinks and fifos while it is written: nothing outside is touched', {
  timeout: 240_000,
}, async () => {
  const clean = rig.path('clean');
  const labels = ['one', 'other'].map((version) => {
    makeTree(clean, (path) => `${version} ${path}`);
    return rig.done(HOME, 'backup', clean).last.label!;
  });
  const before = portrait(outside);
  const target = rig.path('target');
  makeTree(target, (path) => `old ${path}`);
  let round = 0;
  // Each restore has all files to write: they hold the other version.
  const swaps = await racing(target, () => {
    const more = round % 2 === 0 ? ['--delete'] : [];
    raced('restore', labels[round++ % 2]!, '--source', clean, '--to', target, ...more);
  });
  expect(swaps).toBeGreaterThan(50);
  expect(portrait(outside)).toBe(before);
  raced('restore', labels[1]!, '--source', clean, '--to', target, '--delete');
  expect(run('diff', '-r', clean, target)).toBe('');
  expect(readdirSync(target).sort()).toEqual(['d0', 'd1', 'd2', 'd3']);
});
