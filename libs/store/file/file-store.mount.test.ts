import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, type TestContext } from 'vitest';
import type { CollectableStore } from '../port.ts';
import { openFileStore } from './file-store.ts';

const run = promisify(execFile);
const BYTES = [Buffer.from('bytes')];
const code = (expected: string) => expect.objectContaining({ code: expected });
const isRoot = process.getuid?.() === 0;

describe('file store on a file system of its own', () => {
  let folder: string;
  let mounted = false;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-mount-'));
  });
  afterEach(async () => {
    if (mounted) await run('umount', [folder]);
    mounted = false;
    await rm(folder, { recursive: true });
  });

  const open = (): Promise<CollectableStore> => openFileStore(pathToFileURL(folder).href, { create: true });

  /** A tmpfs of 1 MiB. Where mounting is not allowed the test says so, and fails under CI. */
  async function mount(context: TestContext): Promise<void> {
    try {
      await run('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder]);
      mounted = true;
    } catch (error) {
      const reason = `no tmpfs can be mounted here: ${(error as Error).message}`;
      if (process.env.CI === 'true') throw new Error(reason, { cause: error });
      process.stderr.write(`${reason}\n`);
      context.skip(reason);
    }
  }

  it('survives a full disk: TM1204, nothing half written, and room for what fits', async (context) => {
    await mount(context);
    const store = await open();
    await store.create('packs/aa/one', [Buffer.alloc(400_000, 1)]);
    const tooMuch = [Buffer.alloc(300_000, 2), Buffer.alloc(900_000, 3)];
    await expect(store.create('packs/aa/two', tooMuch)).rejects.toEqual(code('TM1204'));
    expect(await store.stat('packs/aa/two')).toBeUndefined();
    expect(await readdir(join(folder, 'tmp'))).toEqual([]);
    expect(await store.create('packs/aa/two', [Buffer.alloc(400_000, 4)])).toBe('created');
    expect((await store.read('packs/aa/one')).equals(Buffer.alloc(400_000, 1))).toBe(true);
  });

  it('survives an unmounted store: nothing is written to the folder that stays', async (context) => {
    await mount(context);
    const store = await open();
    await store.create('packs/aa/one', BYTES);
    await run('umount', [folder]);
    mounted = false;
    await expect(store.create('packs/aa/two', BYTES)).rejects.toEqual(code('TM1201'));
    await expect(store.stat('packs/aa/one')).rejects.toEqual(code('TM1201'));
    expect(await readdir(folder)).toEqual([]);
  });

  it('survives a disk that became read-only: it is read, and TM1201 says why nothing is written', async (context) => {
    if (isRoot) await mount(context);
    const store = await open();
    await store.create('packs/aa/one', BYTES);
    if (isRoot) await run('mount', ['-o', 'remount,ro', folder]);
    else for (const inner of ['packs/aa', 'tmp']) await chmod(join(folder, inner), 0o500);
    await expect(store.create('packs/aa/two', BYTES)).rejects.toEqual(code('TM1201'));
    await expect(store.delete('packs/aa/one')).rejects.toEqual(code('TM1201'));
    expect(await (await openFileStore(store.url, { create: false })).read('packs/aa/one')).toEqual(BYTES[0]);
    if (!isRoot) for (const inner of ['packs/aa', 'tmp']) await chmod(join(folder, inner), 0o700);
  });
});
