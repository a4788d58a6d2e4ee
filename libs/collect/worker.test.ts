import { createCipheriv, randomBytes } from 'node:crypto';
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openFrame, parseFrameHeader } from '../blocks/frame.ts';
import { decodeFrameBlocks } from '../blocks/frame-blocks.ts';
import type { SealedFrame } from '../blocks/intake.ts';
import { holesOf, recipeItems } from '../blocks/recipe-reader.ts';
import { EntryHasher, KeyedHasher } from '../model/digests.ts';
import { decodeState, EntryFlag, type EntryState, EntryType } from '../model/entry.ts';
import { readRecords } from '../model/records.ts';
import * as posix from '../posix/index.ts';
import type { WorkBatch, WorkItem } from '../scan/index.ts';
import { Outcome, type TaskResult, type WorkerSetup } from './protocol.ts';
import { packTask } from './task.ts';
import { WorkerPool } from './worker-pool.ts';

const DOMAIN = '00112233-4455-6677-8899-aabbccddeeff';
const KEY = Buffer.alloc(32, 7);
const MB = 1024 * 1024;
let base: string;
let dirFd: number;

beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), 'tidemark-worker-'));
  dirFd = posix.open(base, posix.O_RDONLY | posix.O_DIRECTORY);
});

afterAll(() => {
  posix.close(dirFd);
  rmSync(base, { recursive: true, force: true });
});

const setup = (firstFrameNo = 0): WorkerSetup => ({
  domainId: DOMAIN,
  dedupKey: Buffer.alloc(32, 1),
  digestKey: Buffer.alloc(32, 2),
  sourceKey: Buffer.alloc(32, 3),
  gearSeed: Buffer.alloc(32, 4),
  dataKey: { id: Buffer.alloc(16, 9), key: KEY, firstFrameNo, endFrameNo: firstFrameNo + 1000 },
  rootDev: 0n,
  startedAtNs: BigInt(Date.now() + 3_600_000) * 1_000_000n,
  compression: 'fast',
  granularityNs: 1n,
});

function itemOf(name: string): WorkItem {
  const stat = new posix.Stat();
  posix.statx(dirFd, Buffer.from(name), stat);
  const copy = Buffer.from(stat.buffer.subarray(0, posix.STATX_OFFSETS.mountId + 8));
  return { handle: 0, name: Buffer.from(name), stat: copy, size: stat.sizeNumber, previousHash: undefined };
}

function batchOf(id: number, names: readonly string[]): WorkBatch {
  const items = names.map(itemOf);
  return { id, groups: [{ dirFd, dir: Buffer.alloc(0), items }], count: items.length, bytes: 0 };
}

/** What the main thread sees of the workers; blocks are opened and kept by id. */
class Main {
  readonly blocks = new Map<string, Buffer>();
  readonly frameNos: number[] = [];
  readonly pool: WorkerPool;
  readonly #results = new Map<number, PromiseWithResolvers<TaskResult>>();
  /** Called before an ask is answered: then the asking lane stands still. */
  onAsk: () => void = () => {};

  constructor(setups: readonly WorkerSetup[] = [setup()]) {
    this.pool = new WorkerPool(setups, {
      missing: async (_task, ids) => {
        this.onAsk();
        return Uint8Array.from({ length: ids.length / 32 }, (_, i) =>
          this.blocks.has(ids.toString('hex', i * 32, i * 32 + 32)) ? 0 : 1,
        );
      },
      frames: async (_task, frames) => {
        for (const frame of frames) this.#keep(frame);
      },
      result: (result) => this.#results.get(result.id)!.resolve(result),
      failed: (error) => {
        for (const { reject } of this.#results.values()) reject(error);
      },
    });
  }

  #keep({ bytes, index }: SealedFrame): void {
    this.frameNos.push(parseFrameHeader(bytes).frameNo);
    const plain = openFrame(bytes, DOMAIN, KEY);
    let at = 0;
    for (const { id, length } of decodeFrameBlocks(index)) {
      const block = plain.subarray(at, at + length);
      expect(new KeyedHasher(Buffer.alloc(32, 1)).digest(block)).toEqual(id);
      this.blocks.set(id.toString('hex'), block);
      at += length;
    }
    expect(at).toBe(plain.length);
  }

  read(id: number, names: readonly string[]): Promise<TaskResult> {
    return this.submit(batchOf(id, names));
  }

  submit(batch: WorkBatch): Promise<TaskResult> {
    const result = Promise.withResolvers<TaskResult>();
    this.#results.set(batch.id, result);
    this.pool.submit(packTask(batch));
    return result.promise;
  }

  /** Content as a restore would make it. */
  async content(state: EntryState): Promise<Buffer> {
    const read = async (id: Buffer) => this.blocks.get(id.toString('hex'))!;
    const parts: Buffer[] = [];
    for await (const item of recipeItems(state.recipe!, read))
      parts.push(item.kind === 'zeros' ? Buffer.alloc(item.length) : await read(item.id));
    let data = Buffer.concat(parts);
    for (const { offset, length } of await holesOf(state.recipe!, read))
      data = Buffer.concat([data.subarray(0, offset), Buffer.alloc(length), data.subarray(offset)]);
    return data;
  }
}

const statesOf = (result: TaskResult): Map<string, EntryState> =>
  new Map(
    result.bodies.flatMap(({ bytes }) =>
      [...readRecords(Buffer.from(bytes))].map((record) => [
        record.name.toString(),
        decodeState(record.state),
      ]),
    ),
  );

test('files of every shape come back from their recipes, and hashes and outcomes are in the task’s order', async () => {
  const main = new Main();
  const contents = new Map<string, Buffer>([
    ['a-empty', Buffer.alloc(0)],
    ['b-small', Buffer.from('small')],
    ['c-same', Buffer.from('small')],
    ['d-zeros', Buffer.alloc(3 * MB)],
    ['e-random', randomBytes(9 * MB)],
    ['f-text', Buffer.alloc(700_000, 'line of text\n')],
  ]);
  for (const [name, content] of contents) writeFileSync(join(base, name), content);
  symlinkSync('nowhere', join(base, 'g-link'));
  mkdirSync(join(base, 'h-dir'));
  const names = [...contents.keys(), 'g-link', 'h-dir'];
  const result = await main.read(1, names);
  const states = statesOf(result);
  expect([...states.keys()]).toEqual(names);
  expect([...result.outcomes]).toEqual(names.map(() => Outcome.read));
  for (const [name, content] of contents) {
    expect(states.get(name)!.size).toBe(content.length);
    expect((await main.content(states.get(name)!)).equals(content), name).toBe(true);
  }
  const hasher = new EntryHasher(Buffer.alloc(32, 3));
  const records = result.bodies.flatMap(({ bytes }) => [...readRecords(Buffer.from(bytes))]);
  records.forEach(({ dir, name, state }, i) => {
    expect(Buffer.from(result.hashes.subarray(i * 32, i * 32 + 32))).toEqual(hasher.hash(dir, name, state));
  });
  expect(new Set(main.frameNos).size).toBe(main.frameNos.length);
  await main.pool.close();
});

test('a sparse file keeps its holes, more of them than fit a state too', async () => {
  const main = new Main();
  const [few, many] = [join(base, 'sparse'), join(base, 'sparser')];
  writeFileSync(few, 'begin');
  truncateSync(few, 8 * MB);
  appendFileSync(few, randomBytes(5000));
  truncateSync(few, 12 * MB);
  const fd = posix.open(many, posix.O_RDWR | posix.O_CREAT, 0o600);
  for (let i = 0; i < 200; i++) posix.pwriteFully(fd, Buffer.alloc(4096, i + 1), 0, 4096, i * 3 * 4096);
  posix.close(fd);
  const states = statesOf(await main.read(1, ['sparse', 'sparser']));
  for (const name of ['sparse', 'sparser']) {
    const state = states.get(name)!;
    expect((await main.content(state)).equals(readFileSync(join(base, name))), name).toBe(true);
  }
  expect(states.get('sparse')!.recipe!.holes).toMatchObject({ kind: 'inline' });
  expect(states.get('sparser')!.recipe!.holes).toMatchObject({ kind: 'block' });
  await main.pool.close();
});

test('a recipe too long for a state becomes a tree, and its file comes back', async () => {
  const main = new Main();
  const fd = posix.open(join(base, 'huge'), posix.O_RDWR | posix.O_CREAT, 0o600);
  // The same bytes in each run: how often random ones are cut is itself random.
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, 1), Buffer.alloc(16, 2));
  for (let i = 0; i < 120; i++) posix.writeFully(fd, cipher.update(Buffer.alloc(MB)));
  posix.close(fd);
  const state = statesOf(await main.read(1, ['huge'])).get('huge')!;
  expect(state.recipe!.depth).toBeGreaterThan(0);
  expect(state.recipe!.items.length).toBeLessThanOrEqual(64);
  expect((await main.content(state)).equals(readFileSync(join(base, 'huge')))).toBe(true);
  await main.pool.close();
});

test('a file that changes once while it is read is read again; its content is of one moment', async () => {
  const main = new Main();
  const path = join(base, 'changing');
  writeFileSync(path, randomBytes(20 * MB));
  const after = randomBytes(20 * MB + 17);
  let asks = 0;
  main.onAsk = () => {
    if (++asks === 2) writeFileSync(path, after);
  };
  const result = await main.read(1, ['changing']);
  const state = statesOf(result).get('changing')!;
  expect(state.flags & EntryFlag.inconsistent).toBe(0);
  expect(result.problems).toEqual([]);
  // Not what the walk saw, so the next scan looks again.
  expect([...result.outcomes]).toEqual([Outcome.untrusted]);
  expect((await main.content(state)).equals(after)).toBe(true);
  await main.pool.close();
});

test('a file that never stands still is flagged and named, and its blocks match what was recorded', async () => {
  const main = new Main();
  const path = join(base, 'log');
  writeFileSync(path, randomBytes(10 * MB));
  main.onAsk = () => appendFileSync(path, 'more');
  const result = await main.read(1, ['log']);
  const state = statesOf(result).get('log')!;
  expect(state.flags & EntryFlag.inconsistent).toBe(EntryFlag.inconsistent);
  expect(result.problems).toMatchObject([{ item: 0, code: 1111 }]);
  expect([...result.outcomes]).toEqual([Outcome.untrusted]);
  expect((await main.content(state)).length).toBe(state.size);
  await main.pool.close();
});

test('a directory that was renamed since it was listed is recorded: what is in it is read by its handle', async () => {
  const main = new Main();
  mkdirSync(join(base, 'moving'));
  const batch = batchOf(1, ['moving']);
  renameSync(join(base, 'moving'), join(base, 'moved'));
  const result = await main.submit(batch);
  await main.pool.close();
  expect([...result.outcomes]).toEqual([Outcome.untrusted]);
  expect(result.problems).toEqual([]);
  expect(statesOf(result).get('moving')).toMatchObject({ type: EntryType.directory, xattrs: [] });
});

test('what vanished, and what is another type by now, is told from what was read', async () => {
  const main = new Main();
  for (const name of ['x-gone', 'x-stays', 'x-turned']) writeFileSync(join(base, name), name);
  const batch = batchOf(1, ['x-gone', 'x-stays', 'x-turned']);
  rmSync(join(base, 'x-gone'));
  rmSync(join(base, 'x-turned'));
  symlinkSync('/etc/passwd', join(base, 'x-turned'));
  const result = Promise.withResolvers<TaskResult>();
  const pool = new WorkerPool([setup()], {
    missing: async (_task, ids) => new Uint8Array(ids.length / 32).fill(1),
    frames: async () => {},
    result: result.resolve,
    failed: result.reject,
  });
  pool.submit(packTask(batch));
  const { outcomes, bodies, problems } = await result.promise;
  expect(outcomes[0]).toBe(Outcome.vanished);
  expect(outcomes[1]).toBe(Outcome.read);
  expect(outcomes[2]).toBeGreaterThanOrEqual(Outcome.vanished); // O_NOFOLLOW: never what the link names
  expect(bodies.reduce((sum, { count }) => sum + count, 0)).toBe(1);
  expect(problems.every(({ item }) => item === 2)).toBe(true);
  await pool.close();
  await main.pool.close();
});

test('several workers share the tasks; no frame number comes twice', async () => {
  const main = new Main([setup(0), setup(1000), setup(2000)]);
  const names = Array.from({ length: 48 }, (_, i) => `many${i}`);
  for (const name of names) writeFileSync(join(base, name), randomBytes(50_000));
  expect(main.pool.idle).toBe(true);
  const results: Promise<TaskResult>[] = [];
  for (let id = 0; main.pool.ready; id++) results.push(main.read(id, names.slice(id * 4, id * 4 + 4)));
  expect(results.length).toBe(12);
  for (const result of await Promise.all(results)) expect([...result.outcomes]).toEqual([0, 0, 0, 0]);
  expect(main.pool.idle).toBe(true);
  expect(new Set(main.frameNos).size).toBe(main.frameNos.length);
  expect(new Set(main.frameNos.map((no) => Math.floor(no / 1000))).size).toBe(3);
  await main.pool.close();
});

test('closing while a lane waits for an answer ends the worker', async () => {
  writeFileSync(join(base, 'waiting'), randomBytes(MB));
  const asked = Promise.withResolvers<void>();
  const failures: unknown[] = [];
  const pool = new WorkerPool([setup()], {
    missing: () => {
      asked.resolve();
      return new Promise(() => {});
    },
    frames: async () => {},
    result: () => {},
    failed: (error) => failures.push(error),
  });
  pool.submit(packTask(batchOf(1, ['waiting'])));
  await asked.promise;
  await pool.close();
  expect(failures).toEqual([]);
});

test('an error in answering an ask is handed on, and closing works afterwards', async () => {
  writeFileSync(join(base, 'refused'), randomBytes(MB));
  const failed = Promise.withResolvers<unknown>();
  const pool = new WorkerPool([setup()], {
    missing: async () => {
      throw new Error('registry is gone');
    },
    frames: async () => {},
    result: () => {},
    failed: failed.resolve,
  });
  pool.submit(packTask(batchOf(1, ['refused'])));
  expect(await failed.promise).toMatchObject({ message: 'registry is gone' });
  await pool.close();
});
