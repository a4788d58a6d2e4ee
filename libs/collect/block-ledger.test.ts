import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { encodeFrameBlocks } from '../blocks/frame-blocks.ts';
import { type BlockIntake, BlockKind, type SealedFrame } from '../blocks/intake.ts';
import { BlockLedger } from './block-ledger.ts';

const NONE = Buffer.alloc(0);

function frameOf(...ids: Buffer[]): SealedFrame {
  const blocks = ids.map((id) => ({ id, length: 10, kind: BlockKind.data, children: NONE }));
  return {
    bytes: Buffer.alloc(20),
    checksum: NONE,
    plainLength: 10 * ids.length,
    keyId: NONE,
    index: encodeFrameBlocks(blocks),
  };
}

function rig(there: readonly Buffer[] = []) {
  const puts: PromiseWithResolvers<void>[] = [];
  const asked: string[][] = [];
  const known = new Set(there.map((id) => id.toString('hex')));
  const intake: BlockIntake = {
    missing: async (ids) => {
      const some = Array.from({ length: ids.length / 32 }, (_, i) =>
        ids.toString('hex', i * 32, i * 32 + 32),
      );
      asked.push(some);
      return Uint8Array.from(some, (id) => (known.has(id) ? 0 : 1));
    },
    put: () => {
      const durable = Promise.withResolvers<void>();
      puts.push(durable);
      return { accepted: Promise.resolve(), durable: durable.promise };
    },
    flush: async () => {},
  };
  return { ledger: new BlockLedger(intake), puts, asked };
}

const isDone = (promise: Promise<void>): Promise<boolean> =>
  Promise.race([
    promise.then(() => true),
    new Promise<boolean>((resolve) => setImmediate(() => resolve(false))),
  ]);

test('a block that another task is sending is not sent twice, and waited for by both', async () => {
  const { ledger, puts } = rig();
  const [a, b] = [randomBytes(32), randomBytes(32)];
  expect([...(await ledger.missing(1, Buffer.concat([a, a])))]).toEqual([1, 0]);
  expect([...(await ledger.missing(2, Buffer.concat([a, b])))]).toEqual([0, 1]);
  await ledger.frames(1, [frameOf(a)]);
  await ledger.frames(2, [frameOf(b)]);
  const [one, two] = [ledger.durable(1), ledger.durable(2)];
  puts[1]!.resolve();
  expect([await isDone(one), await isDone(two)]).toEqual([false, false]);
  puts[0]!.resolve();
  await Promise.all([one, two]);
});

test('who waits for some blocks of a task waits until all that were asked for at once are durable', async () => {
  const { ledger, puts } = rig();
  const [a, b] = [randomBytes(32), randomBytes(32)];
  await ledger.missing(1, Buffer.concat([a, b]));
  expect([...(await ledger.missing(2, b))]).toEqual([0]);
  await ledger.frames(1, [frameOf(a)]);
  await ledger.frames(1, [frameOf(b)]);
  const two = ledger.durable(2);
  puts[0]!.resolve();
  expect(await isDone(two)).toBe(false);
  puts[1]!.resolve();
  await two;
});

test('a pack that fails fails all tasks that name its blocks', async () => {
  const { ledger, puts } = rig();
  const a = randomBytes(32);
  await ledger.missing(1, a);
  await ledger.missing(2, a);
  await ledger.frames(1, [frameOf(a)]);
  const waits = [1, 2].map((task) => expect(ledger.durable(task)).rejects.toThrow('full'));
  puts[0]!.reject(new Error('full'));
  await Promise.all(waits);
});

test('a task without new blocks waits for nothing', async () => {
  await rig().ledger.durable(7);
});

test('what is there already is not sent, and who asked at the same time waits no longer than the answer', async () => {
  const [known, fresh] = [randomBytes(32), randomBytes(32)];
  const { ledger, puts, asked } = rig([known]);
  const one = ledger.missing(1, Buffer.concat([known, fresh, known]));
  const two = ledger.missing(2, known); // while the first question is out
  expect([...(await one)]).toEqual([0, 1, 0]);
  expect([...(await two)]).toEqual([0]);
  expect(asked).toEqual([[known.toString('hex'), fresh.toString('hex')]]);
  await ledger.frames(1, [frameOf(fresh)]);
  const waits = [ledger.durable(1), ledger.durable(2)];
  puts[0]!.resolve();
  await Promise.all(waits);
  expect([...(await ledger.missing(3, known))]).toEqual([0]);
  expect(asked[1]).toEqual([known.toString('hex')]);
});

test('a block that becomes durable while another task asks for it is not sent again', async () => {
  const { ledger, puts, asked } = rig();
  const [a, b] = [randomBytes(32), randomBytes(32)];
  await ledger.missing(1, a);
  await ledger.frames(1, [frameOf(a)]);
  const answer = ledger.missing(2, Buffer.concat([a, b]));
  puts[0]!.resolve();
  expect([...(await answer)]).toEqual([0, 1]);
  expect(asked[1]).toEqual([b.toString('hex')]);
});

test('what a task has asked for is told once, those on their way from another task too', async () => {
  const { ledger } = rig();
  const [a, b] = [randomBytes(32), randomBytes(32)];
  await ledger.missing(1, a);
  await ledger.missing(2, Buffer.concat([a, b]));
  await ledger.missing(2, b);
  expect(Buffer.concat(ledger.takeAsked(2))).toEqual(Buffer.concat([a, b, b]));
  expect(ledger.takeAsked(2)).toEqual([]);
  expect(Buffer.concat(ledger.takeAsked(1))).toEqual(a);
});

test('a task that asks for more than is remembered is said to have asked for nothing', async () => {
  const { ledger } = rig();
  const many = Buffer.alloc(17 * 1024 * 1024, 1);
  await ledger.missing(1, many.subarray(0, 32));
  for (let i = 0; i < 2; i++) ledger.missing(1, many);
  expect(ledger.takeAsked(1)).toEqual([]);
});
