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

const idsIn = (ids: Buffer): string[] =>
  Array.from({ length: ids.length / 32 }, (_, i) => ids.toString('hex', i * 32, i * 32 + 32));

/** Everything that is written, in the order in which it became durable. */
function rig(store = new FaultyStore(new MemoryStore())) {
  const log: string[] = [];
  const rows: BlockRow[] = [];
  const registry = { packs: 0, known: new Set<string>(), asked: 0 };
  const recording = {
    url: store.url,
    create: async (name: string, parts: readonly Uint8Array[]) => {
      const result = await store.create(name, parts);
      log.push(`object ${name.slice(9, 17)}`);
      return result;
    },
  };
  const blocks = {
    present: async (_domain: string, ids: Buffer) => {
      registry.asked += ids.length / 32;
      return Uint8Array.from(idsIn(ids), (id) => (registry.known.has(id) ? 1 : 0));
    },
    packCount: async () => registry.packs,
    beginPack: async (_domain: string, { id }: { id: Buffer }) => {
      registry.packs++;
      log.push(`writing ${id.toString('hex', 0, 4)}`);
    },
    finishPack: async (_domain: string, { id }: { id: Buffer }, of: readonly BlockRow[]) => {
      log.push(`ready ${id.toString('hex', 0, 4)}`);
      rows.push(...of);
      for (const row of of) registry.known.add(row.id.toString('hex'));
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
  return { intake, store, log, rows, registry };
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

const idsOf = (...frames: readonly SealedFrame[]): Buffer =>
  Buffer.concat(frames.flatMap(({ index }) => decodeFrameBlocks(index)).map(({ id }) => id));

test('in a domain of its own it asks for nothing: what it has not stored is missing', async () => {
  const { intake, registry } = rig();
  const [stored, other] = [frame(), frame()];
  const ids = idsOf(stored, other);
  expect([...(await intake.missing(ids))]).toEqual([1, 1]);
  intake.put([stored]);
  await intake.flush();
  expect([...(await intake.missing(ids))]).toEqual([0, 1]);
  expect(registry.asked).toBe(0);
});

test('once somebody else puts packs into the domain, what it does not know is asked for', async () => {
  const { intake, registry } = rig();
  const [stored, others, nobodys] = [frame(), frame(), frame()];
  const ids = idsOf(stored, others, nobodys);
  expect([...(await intake.missing(ids))]).toEqual([1, 1, 1]);
  registry.packs++;
  registry.known.add(idsOf(others).toString('hex'));
  intake.put([stored]);
  await intake.flush();
  expect([...(await intake.missing(ids))]).toEqual([0, 0, 1]);
  expect(registry.asked).toBe(2);
  expect([...(await intake.missing(ids))]).toEqual([0, 0, 1]);
  expect(registry.asked).toBe(3);
});

test('where there were packs before, blocks are asked for from the beginning', async () => {
  const { intake, registry } = rig();
  const there = frame();
  registry.packs = 1;
  registry.known.add(idsOf(there).toString('hex'));
  expect([...(await intake.missing(idsOf(there, frame())))]).toEqual([0, 1]);
});

test('what is present is looked up, also in a domain of its own, unless it was seen there', async () => {
  const { intake, registry } = rig();
  const [stored, unknown] = [frame(), frame()];
  await intake.missing(idsOf(stored));
  intake.put([stored]);
  await intake.flush();
  expect([...(await intake.present(idsOf(stored, unknown, stored)))]).toEqual([1, 0, 1]);
  expect(registry.asked).toBe(1);
  registry.known.add(idsOf(unknown).toString('hex'));
  expect([...(await intake.present(idsOf(unknown)))]).toEqual([1]);
  expect([...(await intake.present(idsOf(unknown)))]).toEqual([1]);
  expect(registry.asked).toBe(2);
});

test('a block of a pack that failed was not seen', async () => {
  const store = new FaultyStore(new MemoryStore());
  store.inject('create', { kind: 'fail', error: new TmError('TM1204', 'full') }, { prefix: 'packs/' });
  const { intake } = rig(store);
  const lost = frame();
  const ids = idsOf(lost);
  intake.put([lost]);
  await expect(intake.flush()).rejects.toMatchObject({ code: 'TM1204' });
  expect([...(await intake.present(ids))]).toEqual([0]);
});

test('a pack of tiny blocks ends long before its bytes do: what waits for it is bounded by entries too', async () => {
  const { intake, log } = rig();
  const tiny = (first: number): SealedFrame =>
    sealer.seal(
      Array.from({ length: 9000 }, (_, i) => {
        const bytes = Buffer.from([(first + i) & 255]);
        const id = Buffer.alloc(32);
        id.writeUInt32LE(first + i);
        return { id, length: 1, kind: BlockKind.data, children: Buffer.alloc(0), bytes };
      }),
    );
  const first = intake.put([tiny(0)]);
  const second = intake.put([tiny(9000)]);
  await first.durable;
  expect(await state(second.durable)).toBe('pending');
  await intake.flush();
  await second.durable;
  expect(log.filter((line) => line.startsWith('ready'))).toHaveLength(2);
});
