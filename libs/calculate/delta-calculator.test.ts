import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ChangeBatch, DeltaSegment } from '../contracts/messages.ts';
import type { BackupInfo } from '../model/backup.ts';
import { blake3, DigestSum } from '../model/digests.ts';
import { type EntryRecord, RecordOp, readRecords } from '../model/records.ts';
import {
  bodyOf,
  codeOf,
  fileState,
  gone,
  hashOf,
  hintsOf,
  kept,
  keyOf,
  present,
} from '../registry/fixtures.suite.ts';
import type { EntryKey, EntryVersion, SourceRow } from '../registry/port.ts';
import { DeltaCalculator } from './delta-calculator.ts';

const EMPTY = Buffer.alloc(0);
const NONE = { added: 0, changed: 0, metadata: 0, deleted: 0, equal: 0, kept: 0 };
const source = { id: 5, key: Buffer.alloc(32, 7) } as SourceRow;

/** Trees by seq, each path with the number that stands for its state. */
type History = ReadonlyMap<number, ReadonlyMap<string, number>>;

const textOf = ({ dir, name }: EntryKey): string => `${dir.toString('latin1')}\0${name.toString('latin1')}`;

/** A registry that holds these trees, and counts how it was asked. */
class Entries {
  readonly asked: { seq: number; keys: number }[] = [];
  readonly #trees: Map<number, Map<string, number>>;

  constructor(history: History) {
    this.#trees = new Map(
      [...history].map(([seq, tree]) => [
        seq,
        new Map([...tree].map(([path, n]) => [textOf(keyOf(path)), n])),
      ]),
    );
  }

  lookup = async (
    sourceId: number,
    seq: number,
    keys: readonly EntryKey[],
  ): Promise<(EntryVersion | undefined)[]> => {
    expect(sourceId).toBe(source.id);
    this.asked.push({ seq, keys: keys.length });
    return keys.map(({ dir, name }) => {
      const n = this.#trees.get(seq)?.get(textOf({ dir, name }));
      if (n === undefined) return undefined;
      const state = fileState(n);
      const hash = hashOf(source, { dir, name, state, op: RecordOp.present, hints: EMPTY, code: 0 });
      return { dir, name, seq, op: RecordOp.present, hash, state, hints: hintsOf(n) };
    });
  };
}

const backupOf = (
  baseSeq: number,
  baselineSeq: number,
  kind: BackupInfo['kind'] = 'differential',
): BackupInfo =>
  ({ id: 'backup', sourceId: source.id, seq: baseSeq + 1, baseSeq, baselineSeq, kind }) as BackupInfo;

function batchOf(records: readonly EntryRecord[], more: Partial<ChangeBatch> = {}): ChangeBatch {
  const body = bodyOf(records);
  const header = {
    backupId: 'backup',
    sourceId: source.id,
    epoch: { generation: 1, counter: 1 },
    shard: 0,
    batchNo: 3,
    schema: 1 as const,
  };
  return { type: 'batch', header, count: records.length, body, digest: blake3(body), ...more };
}

async function calculate(history: History, backup: BackupInfo, batch: ChangeBatch): Promise<DeltaSegment> {
  const calculator = new DeltaCalculator(new Entries(history), async () => ({ backup, source }));
  return (await calculator.calculate(batch)) as DeltaSegment;
}

const tree = (entries: Record<string, number>): Map<string, number> => new Map(Object.entries(entries));
const pathsOf = (segment: DeltaSegment): string[] =>
  [...readRecords(segment.body)].map(({ op, dir, name }) => `${op} ${textOf({ dir, name })}`);

test('what equals the base is dropped, the rest is counted by kind', async () => {
  const history = new Map([[1, tree({ same: 1, other: 1, left: 1 })]]);
  const records = [present('same', 1), present('other', 2), gone('left'), present('new', 1), kept('same')];
  const segment = await calculate(history, backupOf(1, 1), batchOf(records));
  expect(segment.counts).toEqual({ ...NONE, equal: 1, changed: 1, deleted: 1, added: 1, kept: 1 });
  expect(pathsOf(segment)).toEqual(['1 \0other', '2 \0left', '1 \0new', '3 \0same']);
  expect(segment.hashes).toEqual(
    Buffer.concat([
      hashOf(source, records[1]!),
      Buffer.alloc(32),
      hashOf(source, records[3]!),
      Buffer.alloc(32),
    ]),
  );
});

test('a batch in which nothing differs still makes a segment that echoes count and digest', async () => {
  const batch = batchOf([present('a', 1), present('b', 1)]);
  const segment = await calculate(new Map([[4, tree({ a: 1, b: 1 })]]), backupOf(4, 1), batch);
  expect(segment).toEqual({
    type: 'segment',
    header: batch.header,
    batchCount: 2,
    batchDigest: batch.digest,
    count: 0,
    body: EMPTY,
    hashes: EMPTY,
    asBaseline: EMPTY,
    added: Buffer.alloc(32),
    removed: Buffer.alloc(32),
    counts: { ...NONE, equal: 2 },
  });
});

test('an entry that only its hints tell apart is equal; one with other metadata is metadata', async () => {
  const history = new Map([[1, tree({ a: 3 })]]);
  const hinted = { ...present('a', 3), hints: hintsOf(99) };
  expect((await calculate(history, backupOf(1, 1), batchOf([hinted]))).counts).toEqual({ ...NONE, equal: 1 });
  const chmod = present('a', 3);
  chmod.state.writeUInt16LE(0o600, 2);
  expect((await calculate(history, backupOf(1, 1), batchOf([chmod]))).counts).toEqual({
    ...NONE,
    metadata: 1,
  });
});

test('what is back at its baseline is flagged, be it a state or an absence', async () => {
  const history = new Map([
    [1, tree({ back: 1, away: 1 })],
    [2, tree({ back: 2, away: 1, made: 2 })],
  ]);
  const records = [present('back', 1), present('away', 3), gone('made')];
  const segment = await calculate(history, backupOf(2, 1), batchOf(records));
  expect([...segment.asBaseline]).toEqual([1, 0, 1]);
});

test('gone of a path that the base has not is no change', async () => {
  const segment = await calculate(new Map([[1, tree({ a: 1 })]]), backupOf(1, 1), batchOf([gone('b')]));
  expect(segment).toMatchObject({ count: 0, counts: { ...NONE, equal: 1 } });
});

test('a first full asks the registry nothing: everything is added', async () => {
  const entries = new Entries(new Map());
  const backup = backupOf(0, 1, 'full');
  const calculator = new DeltaCalculator(entries, async () => ({ backup, source }));
  const segment = (await calculator.calculate(batchOf([present('a', 1), gone('b')]))) as DeltaSegment;
  expect(segment.counts).toEqual({ ...NONE, added: 1, equal: 1 });
  expect(entries.asked).toEqual([]);
});

test('a thousand paths are asked at once', async () => {
  const entries = new Entries(new Map([[1, tree({})]]));
  const calculator = new DeltaCalculator(entries, async () => ({ backup: backupOf(1, 1), source }));
  await calculator.calculate(batchOf(Array.from({ length: 1001 }, (_, i) => present(`f${i}`, i))));
  expect(entries.asked).toEqual([
    { seq: 1, keys: 1000 },
    { seq: 1, keys: 1 },
  ]);
});

test('a seal passes as it is', async () => {
  const calculator = new DeltaCalculator(new Entries(new Map()), () => expect.unreachable());
  const seal = { type: 'seal' as const, header: batchOf([]).header } as never;
  expect(await calculator.calculate(seal)).toBe(seal);
});

test('a body with a wrong digest or count is refused', async () => {
  const records = [present('a', 1), gone('b')];
  const { body, digest } = batchOf(records);
  const flipped = Buffer.from(body);
  flipped[5]! ^= 1;
  for (const more of [
    { digest: Buffer.alloc(32) },
    { body: flipped },
    { count: 1 },
    { count: 3 },
    { body: EMPTY },
  ])
    expect(await codeOf(calculate(new Map(), backupOf(0, 1), batchOf(records, more)))).toBe('TM1505');
  expect(
    await codeOf(calculate(new Map(), backupOf(0, 1), batchOf(records, { digest, body }))),
  ).toBeUndefined();
});

test('any body that is cut or altered is refused with a code or read as another one, never an exception', async () => {
  const { body, count } = batchOf([present('a/b', 1), gone('a/c'), kept('d'), present('e', 2)]);
  for (let length = 1; length < body.length; length++) {
    const cut = body.subarray(0, length);
    const batch = batchOf([], { body: cut, digest: blake3(cut), count });
    expect(await codeOf(calculate(new Map(), backupOf(0, 1), batch)), `cut at ${length}`).toMatch(
      /^TM1(505|605)$/,
    );
  }
  const history = new Map([[1, tree({ 'a/b': 4, e: 2 })]]);
  await fc.assert(
    fc.asyncProperty(fc.nat({ max: body.length - 1 }), fc.nat({ max: 254 }), async (at, value) => {
      const altered = Buffer.from(body);
      altered[at]! ^= value + 1;
      const batch = batchOf([], { body: altered, digest: blake3(altered), count });
      const code = await codeOf(calculate(history, backupOf(1, 1), batch));
      expect(['TM1505', 'TM1605', undefined]).toContain(code);
    }),
    { numRuns: 2000 },
  );
});

const path = fc.constantFrom('', 'a', 'b', 'a/b', 'a/c', 'A', 'd/e/f');
const someTree = fc.dictionary(path, fc.nat({ max: 3 }), { noNullPrototype: true }).map(tree);

test('base plus segments is the new tree, its digest too, over any trees and any cut into batches', async () => {
  await fc.assert(
    fc.asyncProperty(
      someTree,
      someTree,
      someTree,
      fc.nat({ max: 7 }),
      fc.boolean(),
      async (one, two, now, cut, isFull) => {
        const history = new Map([
          [1, one],
          [2, two],
        ]);
        const backup = isFull ? backupOf(2, 3, 'full') : backupOf(2, 1);
        const all = [...new Set([...two.keys(), ...now.keys()])];
        const records = all.map((at) => (now.has(at) ? present(at, now.get(at)!) : gone(at)));
        const batches = [records.slice(0, cut), records.slice(cut)].map((part) => batchOf(part));
        const digest = digestOf(two);
        const result = new Map(two);
        for (const batch of batches) {
          const segment = await calculate(history, backup, batch);
          expect(await calculate(history, backup, batch)).toEqual(segment);
          digest.add(segment.added).subtract(segment.removed);
          applySegment(result, segment);
          expectFlags(segment, isFull ? undefined : one);
        }
        expect(new Map([...result].sort())).toEqual(new Map([...now].sort()));
        expect(digest.bytes()).toEqual(digestOf(now).bytes());
      },
    ),
    { numRuns: 300 },
  );
});

function digestOf(entries: ReadonlyMap<string, number>): DigestSum {
  const sum = new DigestSum();
  for (const [at, n] of entries) sum.add(hashOf(source, present(at, n)));
  return sum;
}

function applySegment(result: Map<string, number>, segment: DeltaSegment): void {
  const records = [...readRecords(segment.body)];
  expect(records).toHaveLength(segment.count);
  records.forEach((record, i) => {
    const at = [...record.dir.toString().split('\0').filter(Boolean), record.name.toString()].join('/');
    expect(segment.hashes.subarray(i * 32, i * 32 + 32)).toEqual(hashOf(source, record));
    if (record.op === RecordOp.gone) result.delete(at);
    else result.set(at, [0, 1, 2, 3].find((n) => record.state.equals(fileState(n)))!);
  });
}

/** `baseline`: undefined where there is none to compare with. */
function expectFlags(segment: DeltaSegment, baseline: ReadonlyMap<string, number> | undefined): void {
  [...readRecords(segment.body)].forEach((record, i) => {
    const at = [...record.dir.toString().split('\0').filter(Boolean), record.name.toString()].join('/');
    const there = baseline?.get(at);
    const isAgain =
      record.op === RecordOp.gone
        ? there === undefined
        : there !== undefined && fileState(there).equals(record.state);
    expect(segment.asBaseline[i]).toBe(baseline && isAgain ? 1 : 0);
  });
}
