import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { FrameSealer } from '../blocks/frame.ts';
import { decodeFrameBlocks } from '../blocks/frame-blocks.ts';
import { BlockKind, type SealedFrame } from '../blocks/intake.ts';
import { packName, readPackIndex } from '../blocks/pack.ts';
import { blake3 } from '../model/digests.ts';
import { TmError } from '../model/errors.ts';
import type { BlockRow, BlocksTable } from '../registry/port.ts';
import { FaultyStore } from '../store/faulty-store.ts';
import { MemoryStore } from '../store/memory/memory-store.ts';
import { PackIntake } from './pack-intake.ts';

const DOMAIN = '00112233-4455-6677-8899-aabbccddeeff';
const KEY_ID = Buffer.alloc(16, 9);
const PACK_BYTES = 4096;

/** Everything that is written, in the order in which it became durable. */
function rig(store = new FaultyStore(new MemoryStore())) {
  const log: string[] = [];
  const rows: BlockRow[] = [];
  const recording = {
    url: store.url,
    create: async (name: string, parts: readonly Uint8Array[]) => {
      const result = await store.create(name, parts);
      log.push(`object ${name.slice(9, 17)}`);
      return result;
    },
  };
  const blocks = {
    present: async (_domain: string, ids: Buffer) => new Uint8Array(ids.length / 32),
    beginPack: async (_domain: string, { id }: { id: Buffer }) => {
      log.push(`writing ${id.toString('hex', 0, 4)}`);
    },
    finishPack: async (_domain: string, { id }: { id: Buffer }, of: readonly BlockRow[]) => {
      log.push(`ready ${id.toString('hex', 0, 4)}`);
      rows.push(...of);
    },
  };
  const intake = new PackIntake({
    domainId: DOMAIN,
    blocks: blocks as unknown as BlocksTable,
    store: { ...store, ...recording } as never,
    wrappedKey: async (id) => {
      log.push('key');
      return { id, wrapped: Buffer.from('wrapped') };
    },
    packBytes: PACK_BYTES,
  });
  return { intake, store, log, rows };
}

const sealer = new FrameSealer({
  domainId: DOMAIN,
  keyId: KEY_ID,
  key: Buffer.alloc(32, 7),
  firstFrameNo: 0,
  endFrameNo: 1000,
});

function frame(length = 1500): SealedFrame {
  const bytes = randomBytes(length);
  return sealer.seal([{ id: blake3(bytes), length, kind: BlockKind.data, children: Buffer.alloc(0), bytes }]);
}

const state = async (promise: Promise<void>): Promise<'pending' | 'done' | 'failed'> => {
  const pending = new Promise<'pending'>((resolve) => setImmediate(() => resolve('pending')));
  return Promise.race([
    promise.then(
      () => 'done' as const,
      () => 'failed' as const,
    ),
    pending,
  ]);
};

test('the key, the row of the pack, its object and its block rows are written in this order, then it is durable', async () => {
  const { intake, store, log, rows } = rig();
  const frames = [frame(), frame()];
  const ids = frames.flatMap(({ index }) => decodeFrameBlocks(index)).map(({ id }) => id.toString('hex'));
  const { accepted, durable } = intake.put(frames);
  await accepted;
  expect(await state(durable)).toBe('pending');
  await intake.flush();
  await durable;
  expect(log.map((line) => line.split(' ')[0])).toEqual(['key', 'writing', 'object', 'ready']);
  expect(rows.map(({ id }) => id.toString('hex'))).toEqual(ids);
  const name = packName(rows[0]!.pack);
  const { size } = (await store.stat(name))!;
  const index = await readPackIndex((offset, length) => store.read(name, { offset, length }), size);
  expect(index.frames.flatMap(({ blocks }) => blocks.map(({ id }) => id.toString('hex')))).toEqual(ids);
});

test('a pack whose object fails has no block rows; all that waits for it is told, and nothing hangs', async () => {
  const store = new FaultyStore(new MemoryStore());
  store.inject('create', { kind: 'fail', error: new TmError('TM1204', 'full') }, { prefix: 'packs/' });
  const { intake, log, rows } = rig(store);
  const first = intake.put([frame()]);
  const second = intake.put([frame(), frame(), frame()]); // closes the first pack, and is partly in it
  for (const { durable } of [first, second]) await expect(durable).rejects.toMatchObject({ code: 'TM1204' });
  await expect(intake.flush()).rejects.toMatchObject({ code: 'TM1204' });
  expect(() => intake.put([frame()])).toThrow('full');
  const failed = log.find((line) => line.startsWith('writing'))!.split(' ')[1];
  expect(log).not.toContain(`ready ${failed}`);
  const stored = new Set(log.filter((line) => line.startsWith('object')).map((line) => line.split(' ')[1]));
  for (const row of rows) expect(stored).toContain(row.pack.toString('hex', 0, 4));
});

test('a failed pack ends the wait for room as well', async () => {
  const store = new FaultyStore(new MemoryStore());
  const error = new TmError('TM1204', 'full');
  store.inject('create', { kind: 'fail', error }, { prefix: 'packs/', times: 9 });
  const { intake } = rig(store);
  let failure: unknown;
  for (let n = 0; n < 20 && !failure; n++) {
    await (async () => intake.put([frame()]).accepted)().catch((reason) => {
      failure = reason;
    });
  }
  expect(failure).toBe(error);
});

test('while two packs are being written no more is accepted; their memory is freed once they are durable', async () => {
  const store = new FaultyStore(new MemoryStore());
  const gate = Promise.withResolvers<void>();
  store.inject('create', { kind: 'wait', until: () => gate.promise }, { prefix: 'packs/', times: 2 });
  const { intake } = rig(store);
  const frames: SealedFrame[] = [];
  let last: ReturnType<PackIntake['put']>;
  do {
    frames.push(frame());
    last = intake.put([frames.at(-1)!]);
  } while ((await state(last.accepted)) === 'done' && frames.length < 50);
  // Two full packs and the beginning of a third.
  expect(frames.length).toBeLessThanOrEqual(2 * Math.floor(PACK_BYTES / 1500) + 1);
  expect(frames.every(({ bytes }) => bytes.length > 0)).toBe(true);
  gate.resolve();
  await last.accepted;
  await intake.flush();
  await last.durable;
  expect(frames.map(({ bytes }) => bytes.length)).toEqual(frames.map(() => 0));
});
