import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { expect, type TestContext } from 'vitest';
import { jsonLines, MAIN, Rig } from '../cli/rig.ts';
import { afterAll, beforeAll, test } from '../needs.ts';

const isRoot = process.getuid!() === 0;
const SOMEBODY = 12345;

let rig: Rig;

beforeAll(() => {
  rig = new Rig('reading');
});

afterAll(async () => {
  spawnSync('rm', ['-rf', rig.base]); // deeper than Node's own removal can go
  await rig.dispose();
});

const problemsIn = (stdout: string) =>
  jsonLines(stdout)
    .filter((line) => line.type === 'error')
    .map((line) => [line.code, line.path]);

/** The command as an ordinary user: root enters a user namespace in which he is one. */
function asUser(context: TestContext, args: readonly string[], env: NodeJS.ProcessEnv) {
  const command = [process.execPath, MAIN, ...args, '--json'];
  if (!isRoot) return rig.exec(command[0]!, command.slice(1), env);
  const namespace = ['--user', '--map-user=1000', '--map-group=1000'];
  if (spawnSync('unshare', [...namespace, 'true']).status !== 0) context.skip('no user namespaces here');
  return rig.exec('unshare', [...namespace, ...command], env);
}

/** Takes a file or folder away from that user. */
function close(path: string): void {
  if (isRoot) chownSync(path, SOMEBODY, SOMEBODY);
  chmodSync(path, isRoot ? 0o600 : 0);
}

function reopen(path: string): void {
  if (isRoot) chownSync(path, 0, 0);
  chmodSync(path, statSync(path).isDirectory() ? 0o755 : 0o644);
}

test('what an ordinary user may not read is named, and its last version is kept', {
  timeout: 120_000,
}, async (context) => {
  const source = rig.folder('user/source');
  mkdirSync(`${source}/folder`);
  for (const name of ['seen', 'closed', 'folder/below']) writeFileSync(`${source}/${name}`, 'first');
  const env = { TIDEMARK_HOME: rig.path('user/home') };
  expect(asUser(context, ['backup', source], env).status).toBe(0);
  for (const name of ['seen', 'closed', 'folder/below']) writeFileSync(`${source}/${name}`, 'second');
  writeFileSync(`${source}/new-closed`, 'never seen');
  for (const name of ['closed', 'new-closed', 'folder']) close(`${source}/${name}`);
  const backup = asUser(context, ['backup', source], env);
  expect(backup.status, backup.stdout).toBe(3);
  expect(problemsIn(backup.stdout).toSorted()).toEqual([
    ['TM1110', 'closed'],
    ['TM1110', 'folder'],
    ['TM1110', 'new-closed'],
  ]);
  expect(jsonLines(backup.stdout).at(-1)).toMatchObject({ files: 3, added: 0, changed: 1, deleted: 0 });
  const dry = asUser(context, ['backup', source, '--dry-run'], env);
  expect([dry.status, problemsIn(dry.stdout).length]).toEqual([3, 3]);
  expect(jsonLines(dry.stdout).at(-1)).toMatchObject({ files: 3, added: 0, changed: 0, deleted: 0 });
  const target = rig.path('user/target');
  const restored = asUser(context, ['restore', 'latest', '--to', target], env);
  expect(restored.status, restored.stdout).toBe(0);
  for (const name of ['seen', 'closed', 'folder', 'new-closed']) reopen(`${source}/${name}`);
  expect(readFileSync(`${target}/seen`, 'utf8')).toBe('second');
  expect(readFileSync(`${target}/closed`, 'utf8')).toBe('first');
  expect(readFileSync(`${target}/folder/below`, 'utf8')).toBe('first');
  expect(readdirSync(target)).not.toContain('new-closed');
  const after = asUser(context, ['backup', source], env);
  expect([after.status, problemsIn(after.stdout)]).toEqual([0, []]);
  close(source);
  const closed = asUser(context, ['backup', source], env);
  expect([closed.status, jsonLines(closed.stdout).at(-1)?.code]).toEqual([1, 'TM1102']);
  reopen(source);
  const { stopEmbeddedPostgres } = await import('../../libs/registry/embedded/index.ts');
  await stopEmbeddedPostgres(env.TIDEMARK_HOME);
});

test('paths that are too long are named and left out, the rest is backed up', { timeout: 60_000 }, () => {
  const source = rig.folder('deep');
  writeFileSync(`${source}/shallow`, 'here');
  const script = `import os, sys
os.chdir(sys.argv[1])
for i in range(20):
    os.mkdir('d' * 250)
    os.chdir('d' * 250)
    open('file', 'w').write(str(i))`;
  expect(spawnSync('python3', ['-c', script, source]).status).toBe(0);
  const { status, lines, last } = rig.json(['backup', source]);
  expect(status).toBe(3);
  const problems = lines.filter((line) => line.type === 'error');
  expect(problems.map((line) => line.code)).toEqual(['TM1112']);
  expect((problems[0]!.path as string).length).toBeGreaterThan(3700);
  expect(last.files).toBe(17);
  const target = rig.path('deep-restored');
  expect(rig.json(['restore', 'latest', '--source', source, '--to', target]).status).toBe(0);
  const files = (dir: string) =>
    spawnSync('find', [dir, '-name', 'file'], { encoding: 'utf8' }).stdout.trim().split('\n').length;
  expect(files(target)).toBe(16);
  expect(readFileSync(`${target}/shallow`, 'utf8')).toBe('here');
});

test('a file of several GB with some data costs what the data costs', { timeout: 120_000 }, () => {
  const source = rig.folder('large');
  const script = `import os, sys
f = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
for at in (0, 3 << 30, (6 << 30) - 5):
    os.pwrite(f, os.urandom(1 << 20), at)
os.ftruncate(f, 7 << 30)`;
  expect(spawnSync('python3', ['-c', script, `${source}/disk`]).status).toBe(0);
  const { status, last } = rig.json(['backup', source]);
  expect([status, last.bytes]).toEqual([0, 7 * 2 ** 30]);
  expect(last.newBytes).toBeLessThan(8e6);
  const target = rig.path('large-restored');
  expect(rig.json(['restore', 'latest', '--source', source, '--to', target]).status).toBe(0);
  expect(statSync(`${target}/disk`).size).toBe(7 * 2 ** 30);
  expect(statSync(`${target}/disk`).blocks).toBeLessThan(20_000);
  const compare = `import sys
a, b = (open(name, 'rb') for name in sys.argv[1:])
for at in (0, 5 << 19, 3 << 30, (6 << 30) - 5):
    for f in (a, b): f.seek(at)
    assert a.read(2 << 20) == b.read(2 << 20)`;
  expect(spawnSync('python3', ['-c', compare, `${source}/disk`, `${target}/disk`]).status).toBe(0);
});

test('the store, the home, what lies in them, and files are no sources', () => {
  expect(rig.json(['backup', rig.folder('small')]).status).toBe(0);
  const store = rig.path('home/store');
  for (const dir of [store, `${store}/packs`, rig.home, `${rig.home}/agent`])
    expect(rig.json(['backup', dir]), dir).toMatchObject({ status: 1, last: { code: 'TM1104' } });
  expect(rig.json(['backup', rig.path('missing')]).last.code).toBe('TM1101');
  expect(rig.json(['backup', `${rig.home}/identity`]).last.code).toBe('TM1103');
  const whole = rig.json(['backup', rig.base, '--dry-run', '--exclude', 'deep*']);
  expect(whole.status).toBe(0);
  const paths = whole.lines.map((line) => String(line.path));
  expect(paths).toContain('small');
  expect(paths.filter((path) => path === 'home' || path.startsWith('home/'))).toEqual([]);
});

test('a folder whose attributes cannot be read is named, and what is below it can be restored', {
  timeout: 60_000,
}, (context) => {
  const source = rig.folder('attributes');
  mkdirSync(`${source}/folder`);
  writeFileSync(`${source}/folder/file`, 'below');
  // More names than listxattr(2) can give: E2BIG.
  const script = `import os, sys
for i in range(300):
    os.setxattr(sys.argv[1], '%s.%0240d' % (sys.argv[2], i), b'')`;
  const space = isRoot ? 'trusted' : 'user';
  const made = spawnSync('python3', ['-c', script, `${source}/folder`, space], { encoding: 'utf8' });
  if (made.status !== 0) context.skip(`this file system keeps fewer attributes: ${made.stderr}`);
  const { status, stdout, last } = rig.json(['backup', source]);
  expect(status).toBe(3);
  expect(problemsIn(stdout)).toEqual([['TM1110', 'folder']]);
  expect(last).toMatchObject({ files: 1, problems: 1 });
  const target = rig.path('attributes-restored');
  expect(rig.json(['restore', 'latest', '--source', source, '--to', target]).status).toBe(0);
  expect(readFileSync(`${target}/folder/file`, 'utf8')).toBe('below');
});

test('an ordinary user gets the extended attributes of read-only files back', {
  timeout: 120_000,
}, async (context) => {
  const source = rig.folder('attributes/source');
  const env = { TIDEMARK_HOME: rig.path('attributes/home') };
  const set = 'import os, sys; os.setxattr(sys.argv[1], "user.note", b"kept")';
  for (const mode of [0o444, 0o400, 0o555]) {
    const path = `${source}/${mode.toString(8)}`;
    writeFileSync(path, 'read only');
    const done = spawnSync('python3', ['-c', set, path]);
    if (done.status !== 0) context.skip('no extended attributes of users here');
    chmodSync(path, mode);
  }
  expect(asUser(context, ['backup', source], env).status).toBe(0);
  const target = rig.path('attributes/target');
  const restored = asUser(context, ['restore', 'latest', '--to', target], env);
  expect(restored.status, restored.stdout).toBe(0);
  const get = 'import os, sys; print(os.getxattr(sys.argv[1], "user.note").decode())';
  for (const name of readdirSync(target)) {
    expect(spawnSync('python3', ['-c', get, `${target}/${name}`], { encoding: 'utf8' }).stdout).toBe(
      'kept\n',
    );
    expect((statSync(`${target}/${name}`).mode & 0o777).toString(8)).toBe(name);
  }
  expect(readdirSync(target)).toHaveLength(3);
});
