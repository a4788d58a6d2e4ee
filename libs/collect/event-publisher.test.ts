import { expect, test } from 'vitest';
import type { ChangeBatch, ChangeMessage, Seal } from '../contracts/messages.ts';
import type { Body } from '../contracts/wire/body-writer.ts';
import { encode } from '../contracts/wire/codec.ts';
import { blake3, DigestSum } from '../model/digests.ts';
import { RecordWriter, readRecords } from '../model/records.ts';
import type { Transport } from '../transport/port.ts';
import { EventPublisher } from './event-publisher.ts';

const epoch = { generation: 1, counter: 1 };
const b = (text: string): Buffer => Buffer.from(text);

function rig(shards?: number) {
  const messages: ChangeMessage[] = [];
  const transport = {
    publish: async (_topic: string, some: readonly ChangeMessage[]) => {
      messages.push(...some);
    },
  };
  const header = { backupId: 'b', sourceId: 1, epoch, schema: 1 as const };
  return { messages, publisher: new EventPublisher(transport as unknown as Transport, header, shards) };
}

/** States are no states, so that a size is made up: a third more than the bytes. */
function bodyOf(dir: string, count: number, stateBytes = 10): Body {
  const writer = new RecordWriter();
  for (let n = 0; n < count; n++)
    writer.present(b(dir), b(`${n}`), Buffer.alloc(stateBytes, n), Buffer.alloc(32));
  const bytes = writer.finish();
  return { bytes, count, size: Math.ceil(bytes.length * 1.3) };
}

const SEAL = {
  stateDigest: Buffer.alloc(32),
  totals: { files: 0, directories: 0, others: 0, bytes: 0, newBytes: 0, storedBytes: 0, problems: 0 },
  readFrom: 0,
  readTo: 0,
  rootHint: '',
};

test('small bodies travel together: no batch is over its limits, none is lost, and the seal counts them', async () => {
  const { messages, publisher } = rig();
  const sizes = [300, 400, 299, 1, 1, 1000, 999, 2, 500];
  for (const [i, size] of sizes.entries()) await publisher.body(bodyOf(`d${i}`, size));
  await publisher.body(bodyOf('large', 3, 120_000));
  await publisher.body(bodyOf('larger', 2, 100_000));
  await publisher.gone({ dir: b('d0'), name: b('old') });
  await publisher.seal(SEAL);
  const batches = messages.filter((one): one is ChangeBatch => one.type === 'batch');
  const seal = messages.at(-1) as Seal;
  expect(batches.map((one) => one.header.batchNo)).toEqual(batches.map((_, i) => i));
  expect(seal.batches).toEqual([batches.length]);
  const digests = new DigestSum();
  const seen = new Map<string, number>();
  for (const { body, count, digest } of batches) {
    expect(count).toBeLessThanOrEqual(1000);
    expect(body.length).toBeLessThanOrEqual(384 * 1024);
    expect(digest).toEqual(blake3(body));
    digests.add(digest);
    const records = [...readRecords(body)];
    expect(records.length).toBe(count);
    for (const { dir } of records) seen.set(dir.toString(), (seen.get(dir.toString()) ?? 0) + 1);
  }
  expect(seal.batchDigest).toEqual(digests.bytes());
  expect(batches.length).toBeLessThan(sizes.length);
  expect(Object.fromEntries(seen)).toEqual({
    ...Object.fromEntries(sizes.map((size, i) => [`d${i}`, i === 0 ? size + 1 : size])),
    large: 3,
    larger: 2,
  });
});

test('a backup without changes has a seal and no batch', async () => {
  const { messages, publisher } = rig();
  await publisher.seal(SEAL);
  expect(messages.map((one) => one.type)).toEqual(['seal']);
});

test('batches go to the shards in turn; each counts its own, and the seal on shard 0 lists them', async () => {
  const { messages, publisher } = rig(3);
  for (let i = 0; i < 7; i++) await publisher.body(bodyOf(`d${i}`, 1000));
  await publisher.gone({ dir: b(''), name: b('old') });
  await publisher.seal(SEAL);
  const seal = messages.at(-1) as Seal;
  const batches = messages.filter((one): one is ChangeBatch => one.type === 'batch');
  expect(batches).toHaveLength(8);
  expect(seal.header).toMatchObject({ shard: 0, batchNo: 3 });
  expect(seal.batches).toEqual([3, 3, 2]);
  for (const [shard, count] of seal.batches.entries()) {
    const own = batches.filter(({ header }) => header.shard === shard);
    expect(own.map(({ header }) => header.batchNo)).toEqual(Array.from({ length: count }, (_, i) => i));
  }
  const digests = new DigestSum();
  for (const { digest } of batches) digests.add(digest);
  expect(seal.batchDigest).toEqual(digests.bytes());
});

test('no message is over 512 KiB of JSON or 1,000 records, whatever the names are', async () => {
  for (const name of ['plain', 'wíth äccents', 'x'.repeat(240), '\u0001"\\'.repeat(60)]) {
    const { messages, publisher } = rig();
    for (let i = 0; i < 2500; i++)
      await publisher.gone({ dir: b(`${name}\0${name}`), name: b(`${name}${i}`) });
    await publisher.kept({ dir: b(''), name: Buffer.from([0xff]), code: 1110 });
    await publisher.seal(SEAL);
    const batches = messages.filter((one): one is ChangeBatch => one.type === 'batch');
    expect(batches.reduce((sum, { count }) => sum + count, 0)).toBe(2501);
    for (const batch of batches) {
      expect(batch.count).toBeLessThanOrEqual(1000);
      expect(encode(batch).value.length).toBeLessThanOrEqual(512 * 1024);
    }
  }
});
