import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { BodyWriter } from '../contracts/wire/body-writer.ts';
import { ByteWriter } from '../model/byte-writer.ts';
import { type EntryState, EntryType, encodeHints, encodeState, type RecipeItem } from '../model/entry.ts';
import * as posix from '../posix/index.ts';
import type { WorkBatch, WorkItem } from '../scan/index.ts';
import type { TaskResult } from './protocol.ts';
import { ResumeHints } from './resume-hints.ts';

const MIB = 1024 * 1024;
const HOUR = 3_600_000;
const ROOT = Buffer.alloc(0);
const IDENTITY = Buffer.alloc(32, 1);
let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-hints-'));
  path = join(folder, 'source.state.hints');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const open = (startedAt = 10 * HOUR, identity = IDENTITY) => new ResumeHints({ path, identity, startedAt });
const idOf = (n: number): Buffer => Buffer.alloc(32, n);

interface File {
  readonly name: string;
  readonly dir?: string;
  readonly ino?: number;
  readonly size?: number;
  readonly ctime?: number;
  /** Fill of its block's id. */
  readonly block?: number;
  /** Its state names a recipe block, and not its blocks. */
  readonly deep?: boolean;
}

function statOf({ ino = 7, size = 10, ctime = 1000 }: File): Buffer {
  const stat = new posix.Stat();
  const at = posix.STATX_OFFSETS;
  stat.buffer.fill(0);
  stat.buffer.writeUInt16LE(posix.S_IFREG | 0o644, at.mode);
  stat.buffer.writeUInt32LE(1, at.nlink);
  stat.buffer.writeBigUInt64LE(BigInt(ino), at.ino);
  stat.buffer.writeBigUInt64LE(BigInt(size), at.size);
  stat.buffer.writeBigInt64LE(BigInt(ctime), at.ctimeSec);
  stat.buffer.writeBigInt64LE(BigInt(ctime), at.mtimeSec);
  return Buffer.from(stat.buffer.subarray(0, at.mountId + 8));
}

const itemOf = (file: File): WorkItem => ({
  handle: 0,
  name: Buffer.from(file.name),
  stat: statOf(file),
  size: file.size ?? 10,
  previousHash: undefined,
});

function batchOf(files: readonly File[], id = 1): WorkBatch {
  const groups = files.map((file) => ({
    dirFd: 0,
    dir: Buffer.from(file.dir ?? ''),
    items: [itemOf(file)],
  }));
  return { id, groups, count: files.length, bytes: 0 };
}

function stateOf({ size = 10, ctime = 1000, block = 1, deep = false }: File): Buffer {
  const item: RecipeItem = deep
    ? { kind: 'recipe', id: idOf(block), length: size, blockLength: 100 }
    : { kind: 'block', id: idOf(block), length: size };
  const state: EntryState = {
    ...{ type: EntryType.file, flags: 0, mode: 0o644, uid: 0, gid: 0, user: '', group: '' },
    ...{ mtimeSec: BigInt(ctime), mtimeNsec: 0, size, linkGroup: 0n, rdevMajor: 0, rdevMinor: 0 },
    ...{ target: ROOT, xattrs: [], digest: idOf(99) },
    recipe: { depth: deep ? 1 : 0, items: [item], holes: { kind: 'inline', holes: [] } },
  };
  const out = new ByteWriter();
  encodeState(state, out);
  return out.finish();
}

function hintsOf({ ino = 7, ctime = 1000 }: File): Buffer {
  const out = new ByteWriter();
  encodeHints({ ctimeSec: BigInt(ctime), ctimeNsec: 0, dev: 0n, ino: BigInt(ino), nlink: 1 }, out);
  return out.finish();
}

/** As a worker gives it; `isTrusted` false: the hints are zeros. */
function resultOf(id: number, files: readonly File[], isTrusted = true): TaskResult {
  const writer = new BodyWriter();
  for (const file of files) {
    const hints = isTrusted ? hintsOf(file) : Buffer.alloc(32);
    writer.present(Buffer.from(file.dir ?? ''), Buffer.from(file.name), stateOf(file), hints);
  }
  const bytesRead = files.reduce((sum, { size = 10 }) => sum + size, 0);
  const none = new Uint8Array();
  return { id, bodies: [writer.finish()!], outcomes: none, hashes: none, problems: [], bytesRead };
}

/** One attempt that reads the tasks, each a list of files, and dies. */
function attempt(tasks: readonly (readonly File[])[], hints = open()): void {
  tasks.forEach((files, i) => {
    hints.keep(resultOf(i + 1, files), []);
  });
  hints.close(false);
}

/** Names of what needs no reading. `lost`: fills of the ids that the store does not have. */
async function knownOf(
  files: readonly File[],
  hints = open(),
  lost: readonly number[] = [],
): Promise<string[]> {
  const missing = async (ids: Buffer) =>
    Uint8Array.from({ length: ids.length / 32 }, (_, i) => (lost.includes(ids[i * 32]!) ? 1 : 0));
  const known = await hints.known(batchOf(files), missing);
  return [...known.keys()].map(({ name }) => name.toString());
}

test('what was read is known, in the state in which it was published, and its blocks are asked for', async () => {
  const files = [
    { name: 'a', block: 1 },
    { name: 'b', block: 2, ino: 8 },
    { dir: 'd', name: 'a', ino: 9, block: 3 },
  ];
  attempt([files]);
  const hints = open();
  const asked: Buffer[] = [];
  const batch = batchOf(files);
  const known = await hints.known(batch, async (ids) => {
    asked.push(ids);
    return new Uint8Array(3);
  });
  expect(asked).toEqual([Buffer.concat([idOf(1), idOf(2), idOf(3)])]);
  const [first] = batch.groups[0]!.items;
  expect(known.get(first!)).toEqual({ state: stateOf(files[0]!), hints: hintsOf(files[0]!) });
  expect(known.size).toBe(3);
  expect(hints.resumed).toEqual({ files: 3, bytes: 30, since: 10 * HOUR });
});

test('a file whose identity is another one is not known', async () => {
  attempt([[{ name: 'a' }, { name: 'b' }, { name: 'c' }, { name: 'd' }]]);
  const now = [
    { name: 'a', ctime: 1001 },
    { name: 'b', ino: 8 },
    { name: 'c', size: 11 },
    { name: 'd' },
    { name: 'e' },
  ];
  expect(await knownOf(now)).toEqual(['d']);
});

test('what an attempt could not trust is not known', async () => {
  const hints = open();
  hints.keep(resultOf(1, [{ name: 'a' }], false), []);
  hints.close(false);
  expect(await knownOf([{ name: 'a' }])).toEqual([]);
});

test('a file of which the store lacks a block is not known', async () => {
  attempt([
    [
      { name: 'a', block: 1 },
      { name: 'b', block: 2 },
    ],
  ]);
  expect(await knownOf([{ name: 'a' }, { name: 'b' }], open(), [1])).toEqual(['b']);
});

test('a large file is known where every block of it is there, not its recipe block alone', async () => {
  const big: File = { name: 'big', size: 20 * MIB, block: 1, deep: true };
  const hints = open();
  hints.keep(resultOf(1, [big]), [idOf(1), idOf(2), idOf(3)]);
  hints.close(false);
  expect(await knownOf([big])).toEqual(['big']);
  expect(await knownOf([big], open(), [3])).toEqual([]);
});

test('a large file whose blocks were not kept is not known', async () => {
  const big: File = { name: 'big', size: 20 * MIB, block: 1, deep: true };
  attempt([[big]]);
  expect(await knownOf([big])).toEqual([]);
});

test('tasks that ended in another order are read in that of the walk', async () => {
  const hints = open();
  hints.keep(resultOf(3, [{ dir: 'b', name: 'x' }]), []);
  hints.keep(resultOf(1, [{ name: 'a' }, { name: 'b' }]), []);
  hints.keep(resultOf(2, [{ dir: 'a', name: 'x' }]), []);
  hints.close(false);
  const now = [{ name: 'a' }, { name: 'b' }, { dir: 'a', name: 'x' }, { dir: 'b', name: 'x' }];
  expect(await knownOf(now)).toEqual(['a', 'b', 'x', 'x']);
});

test('each of several attempts adds to what is known, and the newest is believed first', async () => {
  attempt(
    [
      [
        { name: 'a', block: 1 },
        { name: 'b', block: 2 },
      ],
    ],
    open(8 * HOUR),
  );
  attempt(
    [
      [
        { name: 'b', block: 3 },
        { name: 'c', block: 4 },
      ],
    ],
    open(9 * HOUR),
  );
  const now = [{ name: 'a' }, { name: 'b' }, { name: 'c' }, { name: 'd' }];
  const hints = open();
  expect(await knownOf(now, hints)).toEqual(['a', 'b', 'c']);
  expect(hints.resumed.since).toBe(8 * HOUR);
  expect(await knownOf(now, open(), [3])).toEqual(['a', 'c']);
});

test('attempts of yesterday, of tomorrow, at another base or with other keys are not believed', async () => {
  attempt([[{ name: 'a' }]], open(10 * HOUR));
  expect(await knownOf([{ name: 'a' }], open(34 * HOUR))).toEqual([]);
  expect(await knownOf([{ name: 'a' }], open(9 * HOUR))).toEqual([]);
  expect(await knownOf([{ name: 'a' }], open(10 * HOUR, Buffer.alloc(32, 2)))).toEqual([]);
  expect(await knownOf([{ name: 'a' }], open(33 * HOUR))).toEqual(['a']);
});

test('attempts that nobody believes any more do not stay in the file', () => {
  attempt([[{ name: 'a' }]], open(10 * HOUR));
  const before = readFileSync(path).length;
  attempt([[{ name: 'a' }]], open(40 * HOUR));
  expect(readFileSync(path).length).toBe(before);
});

test('of a file that was cut the whole part is known, and it is appended to', async () => {
  attempt([[{ name: 'a' }], [{ name: 'b' }]], open(8 * HOUR));
  truncateSync(path, readFileSync(path).length - 1);
  attempt([[{ name: 'c' }]], open(9 * HOUR));
  expect(await knownOf([{ name: 'a' }, { name: 'b' }, { name: 'c' }])).toEqual(['a', 'c']);
});

test('no byte of the file can be wrong without its task being ignored', async () => {
  attempt([[{ name: 'a' }], [{ name: 'b' }]]);
  const good = readFileSync(path);
  for (let at = 0; at < good.length; at++) {
    const bad = Buffer.from(good);
    bad[at]! ^= 0x40;
    writeFileSync(path, bad);
    const known = await knownOf([{ name: 'a' }, { name: 'b' }]);
    expect(known.length, `byte ${at}`).toBeLessThan(2);
  }
});

test('garbage behind the end does no harm', async () => {
  attempt([[{ name: 'a' }]]);
  appendFileSync(path, Buffer.alloc(1000, 0xff));
  expect(await knownOf([{ name: 'a' }])).toEqual(['a']);
});

test('no file is made for few changes of a backup that ends well', () => {
  const hints = open();
  hints.keep(resultOf(1, [{ name: 'a' }]), []);
  hints.close(true);
  expect(existsSync(path)).toBe(false);
});

test('a backup that is killed leaves what it has read but for the last megabytes', async () => {
  const hints = open();
  hints.keep(resultOf(1, [{ name: 'a', size: 10 * MIB }]), [idOf(1)]);
  hints.keep(resultOf(2, [{ name: 'b', size: 10 * MIB }]), [idOf(1)]);
  hints.keep(resultOf(3, [{ name: 'c', size: 10 * MIB }]), [idOf(1)]);
  const now = ['a', 'b', 'c'].map((name) => ({ name, size: 10 * MIB }));
  expect(await knownOf(now)).toEqual(['a', 'b']);
});

test('hints that were used go with the seal, others stay until the commit', async () => {
  attempt([[{ name: 'a' }]], open(8 * HOUR));
  open().close(true);
  expect(existsSync(path)).toBe(true);
  const hints = open();
  await knownOf([{ name: 'a' }], hints);
  hints.close(true);
  expect(existsSync(path)).toBe(false);
});

test('where hints can not be written a backup goes on', () => {
  const hints = new ResumeHints({ path: join(folder, 'no', 'folder'), identity: IDENTITY, startedAt: 0 });
  hints.keep(resultOf(1, [{ name: 'a', size: 20 * MIB }]), []);
  hints.close(false);
  expect(existsSync(join(folder, 'no'))).toBe(false);
});

test('records that are no records, under a right checksum, cost reading and no backup', async () => {
  const hints = open();
  const broken: TaskResult = {
    ...resultOf(1, [{ name: 'a' }]),
    bodies: [{ count: 1, bytes: Buffer.alloc(9, 255), size: 9 }],
  };
  hints.keep(broken, []);
  hints.keep(resultOf(2, [{ name: 'b', ino: 8 }]), []);
  hints.close(false);
  expect(await knownOf([{ name: 'a' }, { name: 'b', ino: 8 }])).toEqual([]);
});

test('a file of hints that cannot be read is as good as none', async () => {
  mkdirSync(path);
  expect(await knownOf([{ name: 'a' }])).toEqual([]);
});
