import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseFrameHeader } from '../blocks/frame.ts';
import * as posix from '../posix/index.ts';
import { Outcome, type TaskResult, type WorkerSetup } from './protocol.ts';
import { packTask } from './task.ts';
import { WarmWorkers } from './warm-workers.ts';
import type { PoolEvents, WorkerPool } from './worker-pool.ts';

let base: string;
let dirFd: number;

beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), 'tidemark-warm-'));
  dirFd = posix.open(base, posix.O_RDONLY | posix.O_DIRECTORY);
});

afterAll(() => {
  posix.close(dirFd);
  rmSync(base, { recursive: true, force: true });
});

const HOUR = 3_600_000;
const LATER = BigInt(Date.now() + HOUR) * 1_000_000n;

/** Backups by the same workers. */
class Bench {
  time = 0;
  readonly warm = new WarmWorkers(() => this.time);
  setups = 0;
  readonly frameNos: string[] = [];
  #tasks = 0;
  #result: PromiseWithResolvers<TaskResult> = Promise.withResolvers();

  readonly #events: PoolEvents = {
    missing: async (_, ids) => new Uint8Array(ids.length / 32).fill(1),
    frames: async (_, frames) => {
      for (const { bytes } of frames) {
        const { keyId, frameNo } = parseFrameHeader(bytes);
        this.frameNos.push(`${keyId[0]}:${frameNo}`);
      }
    },
    result: (result) => this.#result.resolve(result),
    failed: (error) => this.#result.reject(error),
  };

  async #make(): Promise<WorkerSetup[]> {
    this.setups++;
    return [0, 1].map((thread) => ({
      domainId: '00112233-4455-6677-8899-aabbccddeeff',
      dedupKey: Buffer.alloc(32, 1),
      digestKey: Buffer.alloc(32, 2),
      sourceKey: Buffer.alloc(32, 3),
      gearSeed: Buffer.alloc(32, 4),
      dataKey: {
        id: Buffer.alloc(16, this.setups),
        key: Buffer.alloc(32, 7),
        firstFrameNo: thread * 100,
        endFrameNo: 1000,
      },
      rootDev: 0n,
      startedAtNs: LATER,
      compression: 'fast',
      granularityNs: 1n,
    }));
  }

  take(startedAtNs = LATER): Promise<WorkerPool> {
    return this.warm.take(() => this.#make(), this.#events, { rootDev: 0n, startedAtNs });
  }

  /** Has one file read. */
  async read(pool: WorkerPool, content: string): Promise<TaskResult> {
    writeFileSync(join(base, 'f'), content);
    const stat = new posix.Stat();
    posix.statx(dirFd, Buffer.from('f'), stat);
    const item = {
      handle: 0,
      name: Buffer.from('f'),
      stat: Buffer.from(stat.buffer.subarray(0, posix.STATX_OFFSETS.mountId + 8)),
      size: content.length,
      previousHash: undefined,
    };
    this.#result = Promise.withResolvers();
    const groups = [{ dirFd, dir: Buffer.alloc(0), items: [item] }];
    pool.submit(packTask({ id: ++this.#tasks, groups, count: 1, bytes: content.length }));
    return this.#result.promise;
  }
}

test('a thread goes on to the next backup, by the clock of that one and with frame numbers of its own', async () => {
  const bench = new Bench();
  const pool = await bench.take();
  expect((await bench.read(pool, 'one')).outcomes[0]).toBe(Outcome.read);
  await bench.warm.giveBack(pool, true);
  const again = await bench.take(1n);
  expect(again).toBe(pool);
  expect((await bench.read(again, 'two')).outcomes[0]).toBe(Outcome.untrusted);
  await bench.warm.giveBack(again, true);
  const third = await bench.take();
  expect((await bench.read(third, 'three')).outcomes[0]).toBe(Outcome.read);
  expect(bench).toMatchObject({ setups: 1, frameNos: ['1:0', '1:1', '1:2'] });
  await bench.warm.giveBack(third, true);
  await bench.warm.close();
});

test('keys do not serve for ever', async () => {
  const bench = new Bench();
  const pool = await bench.take();
  await bench.read(pool, 'one');
  await bench.warm.giveBack(pool, true);
  bench.time = HOUR;
  const other = await bench.take();
  await bench.read(other, 'two');
  expect(bench.frameNos).toEqual(['1:0', '2:0']);
  await bench.warm.giveBack(other, true);
  await bench.warm.close();
});

test('none is kept after a failure, and none that failed while nobody used it is lent again', async () => {
  const bench = new Bench();
  const pool = await bench.take();
  await bench.read(pool, 'one');
  await bench.warm.giveBack(pool, false);
  const other = await bench.take();
  expect(other).not.toBe(pool);
  expect((await bench.read(other, 'two')).outcomes[0]).toBe(Outcome.read);
  await bench.warm.giveBack(other, true);
  await other.close();
  const third = await bench.take();
  expect(third).not.toBe(other);
  expect((await bench.read(third, 'three')).outcomes[0]).toBe(Outcome.read);
  await bench.warm.giveBack(third, true);
  await bench.warm.close();
});
