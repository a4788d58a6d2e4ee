import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, type TestContext, test } from 'vitest';
import { Rig } from '../cli/rig.ts';

let rig: Rig;
let mounted: string[];

beforeEach(() => {
  rig = new Rig('mounts');
  mounted = [];
});

afterEach(async () => {
  const { stopEmbeddedPostgres } = await import('../../libs/registry/embedded/index.ts');
  await stopEmbeddedPostgres(rig.home);
  for (const path of mounted) unmount(path);
  await rig.dispose();
});

/** A tmpfs of some MiB. Where mounting is not allowed the test says so, and fails under CI. */
function mount(context: TestContext, path: string, mebibytes: number): void {
  const options = ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', path];
  const { status, stderr } = spawnSync('mount', options, { encoding: 'utf8' });
  if (status !== 0) context.skip(`no tmpfs can be mounted here: ${stderr}`);
  mounted.push(path);
}

function unmount(path: string): void {
  expect(spawnSync('umount', [path]).status).toBe(0);
  mounted = mounted.filter((one) => one !== path);
}

test('a full store: TM1204, nothing committed, and the next run works once there is room', {
  timeout: 120_000,
}, (context) => {
  const source = rig.folder('source');
  const store = rig.folder('store');
  mount(context, store, 40);
  const env = { TIDEMARK_STORE: store };
  writeFileSync(`${source}/small`, 'small');
  expect(rig.json(['backup', source], env).status).toBe(0);
  writeFileSync(`${store}/in-the-way`, randomBytes(20 << 20));
  for (let i = 0; i < 30; i++) writeFileSync(`${source}/random-${i}`, randomBytes(1 << 20));
  const full = rig.json(['backup', source], env);
  expect(full, full.stdout).toMatchObject({ status: 1, last: { type: 'error', code: 'TM1204' } });
  expect(rig.json(['backups'], env).lines).toHaveLength(1);
  expect(rig.json(['doctor'], env).lines).toContainEqual(
    expect.objectContaining({ name: 'store-space', status: expect.stringMatching(/warning|failed/) }),
  );
  rmSync(`${store}/in-the-way`);
  const after = rig.json(['backup', source], env);
  expect(after, after.stdout).toMatchObject({ status: 0, last: { added: 30 } });
  const target = rig.path('target');
  expect(rig.json(['restore', 'latest', '--to', target], env).status).toBe(0);
  expect(readdirSync(target)).toHaveLength(31);
  expect(rig.json(['verify', '--read-data'], env)).toMatchObject({ status: 0 });
});

test('a file system below the root that is not mounted any more keeps its entries, and is named', {
  timeout: 120_000,
}, (context) => {
  const source = rig.folder('source');
  const disk = `${source}/disk`;
  mkdirSync(disk);
  mount(context, disk, 4);
  mkdirSync(`${disk}/a`);
  writeFileSync(`${disk}/a/file`, 'on the disk');
  writeFileSync(`${source}/beside`, 'beside');
  expect(rig.json(['backup', source]).last).toMatchObject({ files: 2, problems: 0 });
  unmount(disk);
  for (const kind of ['--differential', '--full']) {
    const { status, lines, last } = rig.json(['backup', source, kind]);
    expect(status, kind).toBe(3);
    expect(lines.filter((line) => line.type === 'error')).toMatchObject([{ code: 'TM1113', path: 'disk' }]);
    expect(last).toMatchObject({ deleted: 0, files: 2 });
    const target = rig.path(`restored${kind}`);
    expect(rig.json(['restore', 'latest', '--to', target]).status).toBe(0);
    expect(readFileSync(`${target}/disk/a/file`, 'utf8')).toBe('on the disk');
  }
  const excluded = rig.json(['backup', source, '--exclude', '/disk']);
  expect(excluded).toMatchObject({ status: 0, last: { deleted: 3, files: 1 } });
  expect(rig.json(['backup', source])).toMatchObject({ status: 0, last: { files: 1, problems: 0 } });
});

test('where the notes in the home are lost, a disk that is not mounted keeps its entries too', {
  timeout: 120_000,
}, (context) => {
  const source = rig.folder('source');
  const disk = `${source}/disk`;
  mkdirSync(disk);
  mount(context, disk, 4);
  mkdirSync(`${disk}/a`);
  writeFileSync(`${disk}/a/file`, 'on the disk');
  expect(rig.json(['backup', source]).status).toBe(0);
  unmount(disk);
  const agent = `${rig.home}/agent`;
  for (const name of readdirSync(agent).filter((one) => one.endsWith('.state'))) rmSync(`${agent}/${name}`);
  for (let i = 0; i < 2; i++) {
    const { status, lines, last } = rig.json(['backup', source]);
    expect(status).toBe(3);
    expect(lines.filter((line) => line.type === 'error')).toMatchObject([{ code: 'TM1113', path: 'disk' }]);
    expect(last).toMatchObject({ deleted: 0, files: 1 });
  }
  mount(context, disk, 4);
  writeFileSync(`${disk}/other`, 'another one');
  expect(rig.json(['backup', source])).toMatchObject({ status: 0, last: { deleted: 2, added: 1, files: 1 } });
});

test('a store that is not mounted is named, and nothing is written in its place', (context) => {
  const source = rig.folder('source');
  const store = rig.folder('store');
  mount(context, store, 8);
  writeFileSync(`${source}/file`, 'one');
  const env = { TIDEMARK_STORE: store };
  expect(rig.json(['backup', source], env).status).toBe(0);
  unmount(store);
  expect(rig.json(['backup', source], env)).toMatchObject({ status: 10, last: { code: 'TM1202' } });
  expect(rig.json(['doctor'], env)).toMatchObject({ status: 1 });
  expect(readdirSync(store)).toEqual([]);
});

test('a hard link that was kept is not joined with another file of the same inode and device number', {
  timeout: 120_000,
}, (context) => {
  const source = rig.folder('source');
  /** A disk with one file under two names; file systems give device and inode numbers to the next one again. */
  const insert = (disk: string): string => {
    mkdirSync(`${source}/${disk}`);
    mount(context, `${source}/${disk}`, 4);
    writeFileSync(`${source}/${disk}/a`, disk);
    linkSync(`${source}/${disk}/a`, `${source}/${disk}/b`);
    const { dev, ino } = statSync(`${source}/${disk}/a`);
    return `${dev}:${ino}`;
  };
  const old = insert('old');
  expect(rig.json(['backup', source]).status).toBe(0);
  unmount(`${source}/old`);
  expect(insert('new')).toBe(old);
  expect(rig.json(['backup', source]).status).toBe(3);
  const target = rig.path('target');
  expect(rig.json(['restore', 'latest', '--to', target]).status).toBe(0);
  for (const disk of ['old', 'new']) {
    expect(readFileSync(`${target}/${disk}/a`, 'utf8')).toBe(disk);
    expect(readFileSync(`${target}/${disk}/b`, 'utf8')).toBe(disk);
    expect(statSync(`${target}/${disk}/a`).ino).toBe(statSync(`${target}/${disk}/b`).ino);
  }
});
