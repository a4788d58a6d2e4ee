import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ContentItem } from '../blocks/recipe-reader.ts';
import type { TreeEntry } from '../catalogue/port.ts';
import { EntryType, HINTS_BYTES, type Hole } from '../model/entry.ts';
import { TmError } from '../model/errors.ts';
import type { RecordView } from '../model/records.ts';
import { fromSlashes } from '../model/tree-path.ts';
import { PLACE_BYTES } from '../registry/port-blocks.ts';
import { stretchesOf } from './big-file.ts';
import { LinkTable } from './link-table.ts';
import { groupPieces, type Piece, PieceLayout } from './pieces.ts';
import { LinkOutcome } from './protocol.ts';
import { planReads } from './read-plan.ts';
import { planPaths, RestorePlan } from './restore-plan.ts';

const idOf = (n: number): Buffer => Buffer.alloc(32, n);

/** A file as stretches of data and holes, its data cut into items wherever chance wants. */
const file = fc
  .record({
    stretches: fc.array(fc.record({ data: fc.boolean(), length: fc.integer({ min: 1, max: 40 }) }), {
      maxLength: 12,
    }),
    cuts: fc.array(fc.record({ length: fc.integer({ min: 1, max: 50 }), zeros: fc.boolean() }), {
      maxLength: 40,
    }),
  })
  .map(({ stretches, cuts }) => {
    const holes: Hole[] = [];
    let size = 0;
    let data = 0;
    for (const { data: isData, length } of stretches) {
      if (isData) data += length;
      else holes.push({ offset: size, length });
      size += length;
    }
    const items: ContentItem[] = [];
    for (let left = data, i = 0; left > 0; i++) {
      const cut = cuts[i] ?? { length: left, zeros: false };
      const length = Math.min(left, cut.length);
      items.push(cut.zeros ? { kind: 'zeros', length } : { kind: 'block', id: idOf(i % 250), length });
      left -= length;
    }
    return { holes, items, size };
  });

const layOut = ({ holes, items }: { holes: readonly Hole[]; items: readonly ContentItem[] }): Piece[] => {
  const layout = new PieceLayout(holes);
  return items.flatMap((item) => [...layout.place(item)]);
};

test('every byte of a file is written once, holes never, each from its place in its block', () => {
  fc.assert(
    fc.property(file, ({ holes, items, size }) => {
      const written = new Uint8Array(size);
      const pieces = layOut({ holes, items });
      for (const { offset, length } of pieces)
        for (let at = offset; at < offset + length; at++) written[at]!++;
      const expected = new Uint8Array(size).fill(1);
      for (const { offset, length } of holes) expected.fill(0, offset, offset + length);
      expect([...written]).toEqual([...expected]);
      const { blocks, zeros } = groupPieces(pieces);
      expect(blocks.map(({ id, length }) => ({ id, length }))).toEqual(
        items.flatMap((item) => (item.kind === 'block' ? [{ id: item.id, length: item.length }] : [])),
      );
      for (const { length, pieces: own } of blocks) {
        let from = 0;
        for (const piece of own) {
          expect(piece.from).toBe(from);
          from += piece.length;
        }
        expect(from).toBe(length);
      }
      expect(zeros.every(({ block }) => block === undefined)).toBe(true);
    }),
  );
});

test('the stretches of a large file make it up, and no block is in two of them', async () => {
  await fc.assert(
    fc.asyncProperty(file, fc.integer({ min: 1, max: 100 }), async ({ holes, items, size }, bytes) => {
      const pieces = layOut({ holes, items });
      const stretches = await Array.fromAsync(stretchesOf(pieces, size, bytes));
      expect(stretches.flatMap((one) => one.pieces)).toEqual(pieces);
      let at = 0;
      for (const { start, end, pieces: own } of stretches) {
        expect(start).toBe(at);
        expect(own.every((piece) => piece.offset >= start && piece.offset + piece.length <= end)).toBe(true);
        expect(own[0]?.from ?? 0).toBe(0);
        at = end;
      }
      expect(at).toBe(size);
    }),
  );
});

test('each frame is read once, in order of pack and offset, and gives every block that is wanted', () => {
  const placed = fc.record({
    pack: fc.integer({ min: 0, max: 3 }),
    frame: fc.integer({ min: 0, max: 30 }),
    offset: fc.integer({ min: 0, max: 5 }),
    known: fc.integer({ min: 0, max: 9 }).map((n) => n > 0),
  });
  const FRAME = 400_000;
  fc.assert(
    fc.property(fc.array(placed, { maxLength: 80 }), (wanted) => {
      const places = Buffer.alloc(wanted.length * PLACE_BYTES);
      for (const [i, { pack, frame, offset, known }] of wanted.entries()) {
        if (!known) continue;
        idOf(pack).copy(places, i * PLACE_BYTES);
        const numbers = [frame * FRAME, FRAME, offset * 10, 10];
        for (const [n, value] of numbers.entries()) places.writeUInt32LE(value, i * PLACE_BYTES + 32 + 4 * n);
      }
      const ranges = planReads(places);
      const frames = ranges.flatMap((range) =>
        range.frames.map((frame) => ({ ...frame, key: range.pack[0]! * 1000 + frame.offset / FRAME })),
      );
      const keys = frames.map(({ key }) => key);
      expect(keys).toEqual([...new Set(keys)].sort((a, b) => a - b));
      const read = frames.flatMap((frame) => frame.blocks.map((i) => ({ i, key: frame.key })));
      expect(read.map(({ i }) => i).sort((a, b) => a - b)).toEqual(
        [...wanted.keys()].filter((i) => wanted[i]!.known),
      );
      for (const { i, key } of read) expect(key).toBe(wanted[i]!.pack * 1000 + wanted[i]!.frame);
      for (const { offset, length, frames: inside } of ranges) {
        expect(length).toBeLessThanOrEqual(4 * 1024 * 1024);
        for (const frame of inside) {
          expect(frame.offset).toBeGreaterThanOrEqual(offset);
          expect(frame.offset + frame.length).toBeLessThanOrEqual(offset + length);
        }
      }
    }),
  );
});

test('paths that are asked for come in tree order, without what lies below another one', () => {
  const plan = (...paths: string[]) => planPaths(paths.map((path) => fromSlashes(path)));
  expect(plan('b', 'a/b', 'a', 'a.b', 'a/b/c', 'b')).toEqual(
    ['a', 'a.b', 'b'].map((path) => fromSlashes(path)),
  );
  expect(plan('a', '.')).toEqual([fromSlashes('.')]);
});

/** Many that begin at the same slot, and others. */
const linkGroup = fc.oneof(
  fc.bigInt({ min: 1n, max: 40n }).map((n) => (n << 48n) | 1n),
  fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }),
);

test('a link group has one first name, and keeps what became of it', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-links-'));
  try {
    fc.assert(
      fc.property(fc.array(linkGroup, { maxLength: 200 }), (groups) => {
        const table = new LinkTable(folder);
        const firsts = new Map<bigint, number>();
        groups.forEach((group, i) => {
          const place = { dir: Buffer.from('d\0e'), name: Buffer.from(`n${i}`) };
          expect(table.isFirst(group, place)).toBe(!firsts.has(group));
          if (!firsts.has(group)) firsts.set(group, i);
        });
        for (const [group, i] of firsts) {
          expect(table.first(group)).toEqual({
            dir: Buffer.from('d\0e'),
            name: Buffer.from(`n${i}`),
            outcome: undefined,
          });
          table.setOutcome(group, LinkOutcome.failed);
          expect(table.first(group).outcome).toBe(LinkOutcome.failed);
        }
        table.close();
      }),
      { numRuns: 30 },
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a table of link groups grows without losing one', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-links-'));
  try {
    const table = new LinkTable(folder);
    const groups = Array.from({ length: 3000 }, (_, i) => BigInt(i + 1) * 3_141_592_653n);
    const place = (i: number) => ({ dir: Buffer.from('d'), name: Buffer.from(`n${i}`) });
    for (const [i, group] of groups.entries()) {
      expect(table.isFirst(group, place(i))).toBe(true);
      table.setOutcome(group, i % 2 === 0 ? LinkOutcome.kept : LinkOutcome.written);
    }
    for (const [i, group] of groups.entries()) {
      expect(table.isFirst(group, place(0))).toBe(false);
      const outcome = i % 2 === 0 ? LinkOutcome.kept : LinkOutcome.written;
      expect(table.first(group)).toEqual({ ...place(i), outcome });
    }
    table.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

const ONE_FILE = Buffer.alloc(100);
ONE_FILE[0] = EntryType.file;
const entry = (n: number): TreeEntry => ({
  dir: Buffer.alloc(0),
  name: Buffer.from(`file ${n}`),
  state: ONE_FILE,
  hints: Buffer.alloc(HINTS_BYTES),
});

/** A plan of a list that goes on after `first` entries when it is told to, up to `all`. */
async function slowPlan<T>(
  { first, all, fails }: { first: number; all: number; fails?: Error },
  work: (plan: RestorePlan, goOn: () => void) => Promise<T>,
): Promise<T> {
  const spoolDir = mkdtempSync(join(tmpdir(), 'tidemark-plan-'));
  const gate = Promise.withResolvers<void>();
  const plan = new RestorePlan(
    {
      list: () => expect.unreachable(),
      lookup: () => expect.unreachable(),
      visit: async (visit) => {
        for (let n = 0; n < all; n++) {
          if (n === first) await gate.promise;
          visit(entry(n));
        }
        if (fails) throw fails;
      },
    },
    { paths: [], spoolDir },
  );
  try {
    return await work(plan, gate.resolve);
  } finally {
    gate.resolve();
    await plan.close();
    rmSync(spoolDir, { recursive: true });
  }
}

test('what has come of a plan can be restored while the rest is still to come', () =>
  slowPlan({ first: 2000, all: 5000 }, async (plan, goOn) => {
    expect(await plan.isLarge).toBe(true);
    const batches = plan.batches();
    const some: RecordView[] = (await batches.next()).value ?? [];
    expect(some.length).toBeGreaterThan(0);
    expect(plan.bytes).toBeUndefined();
    goOn();
    const names = some.map(({ name }) => name.toString());
    for await (const batch of batches) names.push(...batch.map(({ name }) => name.toString()));
    expect(names).toEqual(Array.from({ length: 5000 }, (_, n) => `file ${n}`));
    expect(plan.bytes).toBe(0);
  }));

test('a list that breaks off is never taken for a whole one', () =>
  slowPlan({ first: 1200, all: 1300, fails: new TmError('TM1303') }, async (plan, goOn) => {
    goOn();
    await expect(Array.fromAsync(plan.batches())).rejects.toThrow(TmError);
    await expect(plan.whole).rejects.toThrow(TmError);
  }));

test('a list that breaks off before it is large ends the restore before it begins', () =>
  slowPlan({ first: 0, all: 3, fails: new TmError('TM1303') }, async (plan, goOn) => {
    goOn();
    await expect(plan.isLarge).rejects.toThrow(TmError);
  }));

test('reading goes no further once the plan is closed', () =>
  slowPlan({ first: 1500, all: 1_000_000 }, async (plan, goOn) => {
    const closed = plan.close();
    goOn();
    await closed;
    await expect(plan.whole).rejects.toThrow(TmError);
    plan.close = async () => {};
  }));
