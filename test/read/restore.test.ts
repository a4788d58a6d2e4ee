import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { afterAll, beforeAll, test } from '../needs.ts';
import { expectSame, MAIN, Rig, run } from '../rebuild/rig.ts';

const rig = new Rig('read');
const source = rig.path('source');
const outside = rig.path('outside');
const HOME = 'home';

function overwrite(file: string, at: number, text: string): void {
  const fd = openSync(file, 'r+');
  writeSync(fd, text, at);
  closeSync(fd);
}

function makeSource(): void {
  mkdirSync(join(source, 'many'), { recursive: true });
  mkdirSync(join(source, 'empty', 'deep'), { recursive: true });
  mkdirSync(join(source, 'links'));
  for (let i = 0; i < 40; i++) writeFileSync(join(source, 'many', `f${i}`), `file ${i} `.repeat(1000 + i));
  const big = join(source, 'big');
  run('sh', '-c', `head -c 25000000 /dev/urandom > ${big}; truncate -s 60000000 ${big}; echo end >> ${big}`);
  writeFileSync(join(source, 'links', 'a'), 'linked');
  for (const name of ['b', 'c']) linkSync(join(source, 'links', 'a'), join(source, 'links', name));
  symlinkSync('many/f1', join(source, 'symlink'));
  run('mkfifo', join(source, 'fifo'));
  run('setfattr', '-n', 'user.note', '-v', 'x'.repeat(3000), join(source, 'many', 'f2'));
}

/** Changes of all kinds to a restored tree; gives what a restore with --delete then has to do. */
function disturb(target: string): Map<string, string> {
  const many = join(target, 'many');
  overwrite(join(many, 'f0'), 5, 'X');
  utimesSync(
    join(many, 'f0'),
    statSync(join(source, 'many', 'f0')).mtime,
    statSync(join(source, 'many', 'f0')).mtime,
  );
  chmodSync(join(many, 'f1'), 0o600);
  run('setfattr', '-n', 'user.note', '-v', 'other', join(many, 'f2'));
  utimesSync(join(many, 'f3'), 1, 1);
  rmSync(join(many, 'f4'));
  rmSync(join(many, 'f5'));
  symlinkSync(join(outside, 'secret'), join(many, 'f5'));
  rmSync(join(many, 'f6'));
  run('mkfifo', join(many, 'f6'));
  rmSync(join(many, 'f7'));
  mkdirSync(join(many, 'f7', 'sub'), { recursive: true });
  run('touch', '-c', '-r', join(source, 'many'), many);
  writeFileSync(join(target, 'empty', 'deep', 'extra'), 'extra');
  rmSync(join(target, 'links', 'b'));
  copyFileSync(join(target, 'links', 'a'), join(target, 'links', 'b'));
  overwrite(join(target, 'big'), 12_345_678, 'X');
  return new Map([
    ['many/f0', 'changed'],
    ['many/f1', 'metadata'],
    ['many/f2', 'metadata'],
    ['many/f3', 'metadata'],
    ['many/f4', 'added'],
    ['many/f5', 'changed'],
    ['many/f6', 'changed'],
    ['many/f7', 'changed'],
    ['many/f7/sub', 'deleted'],
    ['empty/deep', 'metadata'],
    ['empty/deep/extra', 'deleted'],
    ['links', 'metadata'],
    ['links/b', 'changed'],
    ['big', 'changed'],
  ]);
}

const changesOf = (lines: readonly { type: string; [key: string]: unknown }[]) =>
  lines.filter(({ type }) => type === 'change').map(({ op, path }) => [path, op] as const);

const temporaries = (target: string) =>
  run('find', target, '-name', '.tidemark-*')
    .split('\n')
    .filter((line) => line !== '');

beforeAll(() => {
  makeSource();
  mkdirSync(outside);
  writeFileSync(join(outside, 'secret'), 'outside');
  rig.done(HOME, 'backup', source);
});

afterAll(() => rig.close());

test('a dry run says exactly what the restore then does, and neither touches what is right', () => {
  const target = rig.path('disturbed');
  rig.done(HOME, 'restore', 'latest', '--to', target);
  expectSame(source, target);
  const untouched = lstatSync(join(target, 'many', 'f9'), { bigint: true });
  const expected = disturb(target);
  const dry = rig.done(HOME, 'restore', 'latest', '--to', target, '--delete', '--dry-run');
  const said = changesOf(dry.lines);
  // A directory that was emptied of its file has one entry, the old directory that goes with it has another.
  expect(said.filter(([path, op]) => !(path === 'many/f7' && op === 'deleted')).sort()).toEqual(
    [...expected].sort(),
  );
  const real = rig.done(HOME, 'restore', 'latest', '--to', target, '--delete');
  for (const count of [
    'added',
    'changed',
    'metadata',
    'deleted',
    'unchanged',
    'files',
    'directories',
    'others',
  ])
    expect(real.last[count], count).toBe(dry.last[count]);
  expectSame(source, target);
  expect(lstatSync(join(target, 'many', 'f9'), { bigint: true })).toEqual(untouched);
  expect(readFileSync(join(outside, 'secret'), 'utf8')).toBe('outside');
  const again = rig.done(HOME, 'restore', 'latest', '--to', target, '--delete');
  expect(again.last).toMatchObject({ added: 0, changed: 0, metadata: 0, deleted: 0 });
});

test('a dry run of a target that is not there makes nothing', () => {
  const target = rig.path('not-there');
  const dry = rig.done(HOME, 'restore', 'latest', '--to', target, '--dry-run');
  expect(existsSync(target)).toBe(false);
  expect(changesOf(dry.lines).every(([, op]) => op === 'added')).toBe(true);
  expect(changesOf(dry.lines).length).toBe(Number(run('sh', '-c', `find ${source} | wc -l`)));
});

test('what stands in the place of a directory is never gone through', () => {
  const target = rig.path('traps');
  mkdirSync(target);
  symlinkSync(outside, join(target, 'many'));
  run('mkfifo', join(target, 'links'));
  symlinkSync(join(outside, 'secret'), join(target, 'big'));
  rig.done(HOME, 'restore', 'latest', '--to', target);
  expectSame(source, target);
  expect(readdirSync(outside)).toEqual(['secret']);
  expect(readFileSync(join(outside, 'secret'), 'utf8')).toBe('outside');
});

test('a file that became another name of a file outside is replaced, not written through', () => {
  const target = rig.path('shared');
  rig.done(HOME, 'restore', 'latest', '--to', target);
  rmSync(join(target, 'many', 'f0'));
  writeFileSync(join(outside, 'twin'), readFileSync(join(source, 'many', 'f0')));
  linkSync(join(outside, 'twin'), join(target, 'many', 'f0'));
  rig.done(HOME, 'restore', 'latest', '--to', target);
  expect(statSync(join(outside, 'twin')).nlink).toBe(1);
  expectSame(source, target);
  rmSync(join(outside, 'twin'));
});

test('one path brings its directories along, and deletes only in what is restored whole', () => {
  const target = rig.path('part');
  mkdirSync(join(target, 'empty', 'deep'), { recursive: true });
  for (const extra of ['extra', 'empty/extra', 'empty/deep/extra']) writeFileSync(join(target, extra), 'x');
  rig.done(HOME, 'restore', 'latest', 'empty/deep', 'many/f1', 'many', '--to', target, '--delete');
  expect(readdirSync(target).sort()).toEqual(['empty', 'extra', 'many']);
  expect(readdirSync(join(target, 'empty')).sort()).toEqual(['deep', 'extra']);
  expect(readdirSync(join(target, 'empty', 'deep'))).toEqual([]);
  expect(readdirSync(join(target, 'many')).length).toBe(40);
});

test('SIGINT and SIGTERM end a restore with 130 and leave no temporary file; the next one finishes it', async () => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    const target = rig.path(`stopped-${signal}`);
    mkdirSync(join(target, 'many'), { recursive: true });
    const args = [MAIN, 'restore', 'latest', '--to', target];
    const child = spawn(process.execPath, args, { env: rig.env(HOME), stdio: 'ignore' });
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    while (child.exitCode === null && run('find', target).split('\n').length < 5) spawnSync('true');
    child.kill(signal);
    expect(await ended).toBe(130);
    expect(temporaries(target)).toEqual([]);
    rig.done(HOME, 'restore', 'latest', '--to', target);
    expectSame(source, target);
  }
});

test('a full disk ends a restore with one clear error', (context) => {
  const target = rig.path('full');
  mkdirSync(target);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tidemark-test', target]).status !== 0) {
    if (process.env.CI === 'true') throw new Error('no tmpfs can be mounted here');
    return context.skip('no tmpfs can be mounted here');
  }
  try {
    const { status, lines } = rig.tidemark(HOME, ['restore', 'latest', '--to', target]);
    expect(status).toBe(1);
    expect(lines.filter(({ type }) => type === 'error').map(({ code }) => code)).toEqual(['TM1606']);
    expect(temporaries(target)).toEqual([]);
  } finally {
    run('umount', target);
  }
});
