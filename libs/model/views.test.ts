import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ByteWriter } from './byte-writer.ts';
import {
  decodeHead,
  decodeState,
  type EntryState,
  EntryType,
  encodeState,
  HINTS_BYTES,
  plainBlocks,
  type RecipeItem,
} from './entry.ts';
import { RecordWriter, readRecords, viewRecords } from './records.ts';

const bytes = (minLength: number, maxLength = minLength) =>
  fc.uint8Array({ minLength, maxLength }).map((some) => Buffer.from(some));
const item: fc.Arbitrary<RecipeItem> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant('block' as const), id: bytes(32), length: fc.nat() }),
  },
  fc.record({ kind: fc.constant('zeros' as const), length: fc.nat() }),
  fc.record({
    kind: fc.constant('recipe' as const),
    id: bytes(32),
    length: fc.nat(),
    blockLength: fc.nat(),
  }),
);
const file: fc.Arbitrary<EntryState> = fc.record({
  type: fc.constantFrom(EntryType.file, EntryType.file, EntryType.file, EntryType.directory),
  flags: fc.nat(1),
  mode: fc.nat(0o7777),
  uid: fc.nat(),
  gid: fc.nat(),
  user: fc.constantFrom('', 'ann'),
  group: fc.constantFrom('', 'staff'),
  mtimeSec: fc.bigInt({ min: -(2n ** 40n), max: 2n ** 40n }),
  mtimeNsec: fc.nat(999_999_999),
  size: fc.maxSafeNat(),
  linkGroup: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  rdevMajor: fc.constant(0),
  rdevMinor: fc.constant(0),
  target: fc.constant(Buffer.alloc(0)),
  xattrs: fc.constantFrom([], [], [], [{ name: Buffer.from('user.a'), value: Buffer.from('v') }]),
  digest: bytes(32),
  recipe: fc.record({
    depth: fc.constantFrom(0, 0, 0, 1),
    items: fc.array(item, { maxLength: 5 }),
    holes: fc.constantFrom(
      { kind: 'inline' as const, holes: [] },
      { kind: 'inline' as const, holes: [] },
      { kind: 'inline' as const, holes: [{ offset: 4, length: 9 }] },
      { kind: 'block' as const, id: Buffer.alloc(32, 7), blockLength: 50 },
    ),
  }),
});

function encoded(state: EntryState): Buffer {
  const out = new ByteWriter();
  encodeState(state, out);
  return out.finish();
}

test('what is read of a state without decoding it is what it says', () => {
  fc.assert(
    fc.property(file, (state) => {
      const all = encoded(state);
      const { recipe, xattrs, type } = decodeState(all);
      expect(decodeState(all)).toMatchObject(decodeHead(all));
      const holes = recipe?.holes;
      const isPlain =
        type === EntryType.file &&
        recipe?.depth === 0 &&
        xattrs.length === 0 &&
        holes?.kind === 'inline' &&
        holes.holes.length === 0 &&
        recipe.items.every(({ kind }) => kind === 'block');
      const blocks = plainBlocks(all);
      expect(blocks !== undefined).toBe(isPlain);
      const found = blocks?.flatMap((at, i) =>
        i % 2 === 0
          ? [{ kind: 'block', length: blocks[i + 1], id: Buffer.from(all.subarray(at, at + 32)) }]
          : [],
      );
      if (isPlain) expect(found).toEqual(recipe.items);
    }),
    { numRuns: 500 },
  );
});

test('a state that is cut short or too long is not taken for a plain file', () => {
  fc.assert(
    fc.property(file, fc.nat(), (state, at) => {
      const all = encoded({ ...state, type: EntryType.file });
      const cut = all.subarray(0, at % all.length);
      const blocks = () => {
        try {
          return plainBlocks(cut);
        } catch (error) {
          expect(error).toMatchObject({ code: 'TM1605' });
          return undefined;
        }
      };
      expect(blocks()).toBeUndefined();
      expect(plainBlocks(Buffer.concat([all, Buffer.alloc(1)]))).toBeUndefined();
    }),
  );
});

const name = bytes(1, 12).filter((one) => !one.includes(0) && !one.includes(0x2f));
const records = fc.array(
  fc.record({ dir: fc.constantFrom('', 'a', 'a\0b'), name, state: bytes(0, 90), hints: bytes(HINTS_BYTES) }),
  { maxLength: 40 },
);

test('views of records say what the records say, and are copied as they stand', () => {
  fc.assert(
    fc.property(records, (all) => {
      const writer = new RecordWriter();
      for (const { dir, name, state, hints } of all) writer.present(Buffer.from(dir), name, state, hints);
      const body = writer.finish();
      const copied = new RecordWriter();
      const views = [...viewRecords(body)];
      for (const view of views) copied.copyView(view);
      expect(copied.finish()).toEqual(body);
      const seen = views.map(({ op, dir, name, state, hints, code }) => ({
        op,
        dir,
        name,
        state,
        hints,
        code,
      }));
      expect(seen).toEqual([...readRecords(body)]);
    }),
  );
});

test('bodies that are no present records, or have bad names, are refused', () => {
  const gone = new RecordWriter();
  gone.gone(Buffer.from('a'), Buffer.from('b'));
  const refused = (body: Buffer) =>
    expect(() => [...viewRecords(body)]).toThrow(expect.objectContaining({ code: 'TM1605' }));
  refused(gone.finish());
  for (const bad of ['', 'a/b', 'a\0b']) {
    const writer = new RecordWriter();
    writer.present(Buffer.from('d'), Buffer.from(bad), Buffer.alloc(3), Buffer.alloc(HINTS_BYTES));
    const body = writer.finish();
    refused(body);
    refused(body.subarray(0, body.length - 1));
  }
});
