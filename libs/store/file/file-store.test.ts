import {
  chmod,
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CollectableStore } from '../port.ts';
import { storeSuite } from '../store.suite.ts';
import { type FileStoreOptions, openFileStore } from './file-store.ts';

const BYTES = [Buffer.from('bytes')];
const code = (expected: string) => expect.objectContaining({ code: expected });

/** What link(2) does on file systems without it. */
const refusingLink: typeof link = async () => {
  throw Object.assign(new Error('EPERM: operation not permitted, link'), { code: 'EPERM', syscall: 'link' });
};

const newFolder = (): Promise<string> => mkdtemp(join(tmpdir(), 'tidemark-store-'));
const open = (folder: string, options: Partial<FileStoreOptions> = {}): Promise<CollectableStore> =>
  openFileStore(pathToFileURL(folder).href, { create: false, ...options });

async function names(store: CollectableStore, prefix = ''): Promise<string[]> {
  const found: string[] = [];
  for await (const info of store.list(prefix)) found.push(info.name);
  return found;
}

for (const [title, options] of [
  ['file', {}],
  ['file without hard links', { hardLink: refusingLink }],
] as const) {
  storeSuite(title, async () => {
    const folder = await newFolder();
    return {
      store: await open(folder, options),
      reopen: () => open(folder, options),
      cleanup: () => rm(folder, { recursive: true }),
    };
  });
}

describe('file store', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await newFolder();
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('is open to nobody else', async () => {
    const root = join(folder, 'deep', 'store');
    const store = await open(root, { create: true });
    await store.create('packs/aa/one', BYTES);
    for (const made of ['..', '.', 'packs', 'packs/aa', 'tmp']) {
      expect((await stat(join(root, made))).mode & 0o777).toBe(0o700);
    }
    expect((await stat(join(root, 'packs/aa/one'))).mode & 0o777).toBe(0o600);
    expect(await readdir(join(root, 'tmp'))).toEqual([]);
  });

  it('is not made where it is only opened, and nothing is written by opening', async () => {
    await expect(open(join(folder, 'missing'))).rejects.toEqual(code('TM1202'));
    await open(folder);
    expect(await readdir(folder)).toEqual([]);
    await writeFile(join(folder, 'file'), '');
    await expect(open(join(folder, 'file'))).rejects.toEqual(code('TM1002'));
  });

  it('leaves out of lists what is no object', async () => {
    const store = await open(folder);
    await store.create('a', BYTES);
    await writeFile(join(folder, 'with space'), '');
    await mkdir(join(folder, 'empty'));
    await writeFile(join(folder, 'tmp', 'unfinished'), '');
    expect(await names(store)).toEqual(['a']);
    expect(await names(store, 'tmp/')).toEqual([]);
    expect(await names(store, 'tmp')).toEqual([]);
  });

  it('survives a create that died after its link: the object is there and is durable again', async () => {
    const died: typeof link = async (from, to) => {
      await link(from, to);
      throw Object.assign(new Error('EIO: i/o error, link'), { code: 'EIO', syscall: 'link' });
    };
    const store = await open(folder, { hardLink: died });
    await expect(store.create('packs/aa/one', BYTES)).rejects.toEqual(code('TM1211'));
    expect(await (await open(folder)).create('packs/aa/one', BYTES)).toBe('existed');
  });

  it('survives a folder that somebody removed', async () => {
    const store = await open(folder);
    await store.create('packs/aa/one', BYTES);
    await rm(join(folder, 'packs'), { recursive: true });
    await expect(store.create('packs/aa/two', BYTES)).rejects.toEqual(code('TM1211'));
    expect(await store.create('packs/aa/two', BYTES)).toBe('created');
  });

  it('never makes a vanished root anew', async () => {
    const store = await open(folder);
    await store.create('packs/aa/one', BYTES);
    await rename(folder, `${folder}-away`);
    await expectGone(store);
    await expect(stat(folder)).rejects.toThrow('ENOENT');
    await rename(`${folder}-away`, folder);
    expect(await store.create('packs/aa/two', BYTES)).toBe('created');
  });

  it('writes nothing into another folder in the place of a vanished root', async () => {
    const store = await open(folder);
    await store.create('packs/aa/one', BYTES);
    await rename(folder, `${folder}-away`);
    await mkdir(folder);
    await expectGone(store);
    expect(await readdir(folder)).toEqual([]);
    await rm(`${folder}-away`, { recursive: true });
  });

  it('removes what dead processes left in tmp, once it is a day old', async () => {
    const random = 'abcdef0123456789';
    const old = new Date(Date.now() - 25 * 3600_000);
    const dead = 2 ** 22 + 1;
    const files = { gone: dead, fresh: dead, alive: process.pid };
    await mkdir(join(folder, 'tmp'));
    for (const [i, [kind, pid]] of Object.entries(files).entries()) {
      const path = join(folder, 'tmp', `${i}000000000000000.${pid}.${random}`);
      await writeFile(path, 'part');
      if (kind !== 'fresh') await utimes(path, old, old);
    }
    await writeFile(join(folder, 'tmp', 'foreign'), '');
    await utimes(join(folder, 'tmp', 'foreign'), old, old);
    await open(folder);
    expect((await readdir(join(folder, 'tmp'))).sort()).toEqual([
      `1000000000000000.${dead}.${random}`,
      `2000000000000000.${process.pid}.${random}`,
      'foreign',
    ]);
  });

  it('says TM1206 for an object that was cut', async () => {
    const store = await open(folder);
    await store.create('a', BYTES);
    await chmod(join(folder, 'a'), 0o600);
    await writeFile(join(folder, 'a'), 'byt');
    await expect(store.read('a', { offset: 0, length: 5 })).rejects.toEqual(code('TM1206'));
    expect(await readFile(join(folder, 'a'), 'utf8')).toBe('byt');
  });
});

async function expectGone(store: CollectableStore): Promise<void> {
  const gone = code('TM1201');
  await expect(store.create('packs/aa/new', BYTES)).rejects.toEqual(gone);
  await expect(store.read('packs/aa/one')).rejects.toEqual(gone);
  await expect(store.stat('packs/aa/one')).rejects.toEqual(gone);
  await expect(store.delete('packs/aa/one')).rejects.toEqual(gone);
  await expect(names(store)).rejects.toEqual(gone);
}
