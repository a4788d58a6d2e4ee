import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { stopEmbeddedPostgres } from '../../libs/registry/embedded/index.ts';
import { afterAll, beforeAll, test } from '../needs.ts';

const MAIN = join(import.meta.dirname, '../../apps/cli/main.ts');
const TREE = join(import.meta.dirname, 'tree.py');
const DIFF = join(import.meta.dirname, 'treediff.py');

let base: string;
let home: string;
let source: string;
let env: NodeJS.ProcessEnv;

interface Line {
  readonly type: string;
  readonly code?: string;
  readonly label?: string;
  readonly [key: string]: unknown;
}

function tidemark(...args: string[]): { status: number | null; lines: Line[]; last: Line; text: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args, '--json'], {
    env,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  const lines = stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Line);
  return { status, lines, last: lines.at(-1) ?? { type: 'nothing' }, text: stdout + stderr };
}

function run(program: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

function expectSame(a: string, b: string): void {
  expect(JSON.parse(spawnSync('python3', [DIFF, a, b], { encoding: 'utf8' }).stdout)).toEqual({
    diff: {},
    examples: {},
  });
  expect(run('rsync', '-naiHAX', '--checksum', '--delete', '--modify-window=-1', `${a}/`, `${b}/`)).toBe('');
}

beforeAll(() => {
  base = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'tidemark-cycle-'));
  run('chmod', '711', base);
  home = join(base, 'home');
  source = join(base, 'source');
  env = { ...process.env, TIDEMARK_HOME: home, TIDEMARK_PG_IDLE_SECONDS: '1' };
  for (const name of ['TIDEMARK_STORE', 'TIDEMARK_REGISTRY_URL', 'TIDEMARK_JSON']) delete env[name];
  run('python3', TREE, 'make', source);
});

afterAll(async () => {
  await stopEmbeddedPostgres(home);
  rmSync(base, { recursive: true, force: true });
});

test('a full and three differentials of every kind of entry restore exactly', { timeout: 300_000 }, () => {
  const labels: string[] = [];
  for (let round = 0; round <= 3; round++) {
    if (round > 0) run('python3', TREE, 'edit', String(round), source);
    const { status, last, text } = tidemark('backup', source, '--tag', `round=${round}`);
    expect(status, text).toBe(0);
    expect(last).toMatchObject({
      type: 'summary',
      kind: round === 0 ? 'full' : 'differential',
      baseline: round === 0 ? null : labels[0],
    });
    labels.push(last.label!);
    run('cp', '-a', source, join(base, `copy${round}`));
  }
  const unchanged = tidemark('backup', source);
  expect(unchanged.last).toMatchObject({ added: 0, changed: 0, metadata: 0, deleted: 0, newBytes: 0 });
  for (let round = 0; round <= 3; round++) {
    const target = join(base, `restored${round}`);
    const { status, text } = tidemark('restore', labels[round]!, '--to', target);
    expect(status, text).toBe(0);
    expectSame(join(base, `copy${round}`), target);
  }
  expect(tidemark('verify', '--read-data').last).toMatchObject({ type: 'summary', findings: 0 });
});

test('restoring into an existing tree brings it to any version, deletions applied', {
  timeout: 120_000,
}, () => {
  const all = tidemark('backups').lines;
  const first = all.find((line) => (line.tags as { round?: string }).round === '0')!.label!;
  const target = join(base, 'restored3');
  expect(tidemark('restore', first, '--to', target, '--delete').status).toBe(0);
  expectSame(join(base, 'copy0'), target);
  const again = tidemark('restore', first, '--to', target, '--delete', '--dry-run');
  expect(
    again.lines.filter((line) => line.op === 'added' || line.op === 'changed' || line.op === 'deleted'),
  ).toEqual([]);
  expect(tidemark('restore', 'latest', '--in-place', '--delete').status).toBe(0);
  expectSame(join(base, 'copy3'), source);
});

test('a file that is back at its baseline leaves the delta; a change that keeps size and mtime is in it', () => {
  const [, one, two] = tidemark('backups').lines.map((line) => line.label!);
  const changes = (label: string) =>
    new Map(tidemark('diff', label).lines.map((line) => [line.path, line.op]));
  expect(changes(one!).get('zero')).toBe('changed');
  expect(changes(one!).get('many/d0/f000')).toBe('changed');
  expect(changes(one!).get('text')).toBe('metadata');
  expect(changes(one!).get('many/d2/f002')).toBe('deleted');
  expect(changes(two!).has('zero')).toBe(false);
});

test('one path, cat, ls and find look inside a backup', () => {
  expect(tidemark('restore', 'latest', 'names', '--to', join(base, 'part')).status).toBe(0);
  expect(readdirSync(join(base, 'part'))).toEqual(['names']);
  const text = spawnSync(process.execPath, [MAIN, 'cat', 'latest', 'late/7'], { env, encoding: 'utf8' });
  expect(text.stdout).toBe('late 7');
  expect(tidemark('ls', 'latest', 'hard').lines.map((line) => line.path)).toEqual([
    'hard',
    'hard/a',
    'hard/c',
  ]);
  expect(tidemark('find', 'f0?0').lines.length).toBeGreaterThan(3);
});

test('bad input gets one message with a code', () => {
  const cases: [string[], number, string][] = [
    [['backup', join(base, 'nowhere')], 1, 'TM1101'],
    [['backup', MAIN], 1, 'TM1103'],
    [['backup', home], 1, 'TM1104'],
    [['backup', source, '--no-such-option'], 2, 'TM1001'],
    [['restore', 'nothing-like-it', '--to', join(base, 'x')], 10, 'TM1701'],
    [['restore', '2', '--to', join(base, 'x')], 10, 'TM1702'],
    [['restore', 'latest'], 2, 'TM1001'],
    [['restore', 'latest', '--to', join(home, 'inside')], 1, 'TM1603'],
    [['restore', 'latest', 'no/such/path', '--to', join(base, 'x')], 10, 'TM1704'],
  ];
  for (const [args, status, code] of cases) {
    const result = tidemark(...args);
    expect(
      result.lines.filter((line) => line.type === 'error').map((line) => line.code),
      result.text,
    ).toEqual([code]);
    expect(result.status, args.join(' ')).toBe(status);
  }
});

test('a home reached through a symlink, its store and its registry are no part of a source around them', () => {
  const around = join(base, 'around');
  mkdirSync(join(around, 'real'), { recursive: true });
  run('chmod', '711', around, join(around, 'real'));
  writeFileSync(join(around, 'file'), 'content');
  symlinkSync('real', join(around, 'link'));
  const here = { ...env, TIDEMARK_HOME: join(around, 'link') };
  for (let i = 0; i < 2; i++) {
    const { status, stdout } = spawnSync(process.execPath, [MAIN, 'backup', around, '--json'], {
      env: here,
      encoding: 'utf8',
    });
    expect(status, stdout).toBe(0);
    expect(JSON.parse(stdout.trim().split('\n').at(-1)!)).toMatchObject({ files: 1 });
  }
  return stopEmbeddedPostgres(join(around, 'link'));
});

test('an emptied root is refused until it is accepted', () => {
  const emptied = join(base, 'emptied');
  mkdirSync(emptied);
  writeFileSync(join(emptied, 'only'), 'one');
  expect(tidemark('backup', emptied).status).toBe(0);
  rmSync(join(emptied, 'only'));
  expect(tidemark('backup', emptied)).toMatchObject({ status: 1, last: { code: 'TM1105' } });
  expect(tidemark('backup', emptied, '--accept-root')).toMatchObject({ status: 0, last: { deleted: 1 } });
});

test('after SIGKILL in the middle of a backup the next one works and restores exactly', {
  timeout: 120_000,
}, async () => {
  const before = tidemark('backups').lines.length;
  for (const delay of [250, 400, 600]) {
    writeFileSync(join(source, 'growing'), Buffer.alloc(3 << 20, String(delay)));
    const child = spawn(process.execPath, [MAIN, 'backup', source, '--full'], { env, stdio: 'ignore' });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    setTimeout(() => child.kill('SIGKILL'), delay);
    await ended;
  }
  const { status, text } = tidemark('backup', source);
  expect(status, text).toBe(0);
  const target = join(base, 'after-kill');
  expect(tidemark('restore', 'latest', '--source', source, '--to', target).status).toBe(0);
  expectSame(source, target);
  expect(tidemark('backups').lines.length).toBeGreaterThan(before);
  expect(tidemark('verify', '--read-data').last).toMatchObject({ findings: 0 });
});

test('a damaged pack is named by verify, and the rest is restored', { timeout: 120_000 }, () => {
  const victim = run('sh', '-c', `find ${home}/store/packs -type f -printf '%s %p\\n' | sort -n | tail -1`)
    .trim()
    .split(' ')[1]!;
  run('chmod', '600', victim);
  run(
    'python3',
    '-c',
    `f=open(${JSON.stringify(victim)},'r+b'); f.seek(2000); b=f.read(1); f.seek(2000); f.write(bytes([b[0]^255]))`,
  );
  const verified = tidemark('verify', '--read-data');
  expect(verified.status).toBe(4);
  const findings = verified.lines.filter((line) => line.type === 'finding');
  expect(findings.some((line) => line.object && line.block)).toBe(true);
  expect(findings.some((line) => line.path)).toBe(true);
  const restored = tidemark('restore', 'latest', '--source', source, '--to', join(base, 'damaged'));
  expect(restored.status).toBe(3);
  expect(readdirSync(join(base, 'damaged')).length).toBeGreaterThan(20);
});
