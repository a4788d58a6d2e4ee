import fc from 'fast-check';
import { ByteWriter } from '../../model/byte-writer.ts';
import {
  type EntryHints,
  type EntryState,
  EntryType,
  encodeHints,
  encodeState,
  type HoleMap,
  type Recipe,
  type RecipeItem,
  type Xattr,
} from '../../model/entry.ts';
import { RecordWriter } from '../../model/records.ts';
import { joinPath } from '../../model/tree-path.ts';

/** Any entries that there may be, in the forms that tests of the wire format need. */
export interface AnyRecord {
  readonly op: 'present' | 'gone' | 'kept';
  readonly name: Buffer;
  readonly state: EntryState;
  readonly hints: EntryHints;
  readonly code: number;
}
export interface AnyGroup {
  readonly dir: Buffer;
  readonly records: readonly AnyRecord[];
}

const bytes = (min: number, max: number) =>
  fc.uint8Array({ minLength: min, maxLength: max }).map((some) => Buffer.from(some));
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const u64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const i64 = fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n });
const size = fc.maxSafeNat();
const id = bytes(32, 32);

/** Names of every kind: plain, with what JSON escapes, in other scripts, and of bytes that are no text. */
const anyName = fc
  .oneof(
    fc.string({ minLength: 1, maxLength: 40 }).map((text) => Buffer.from(text)),
    fc.string({ minLength: 1, maxLength: 30, unit: 'binary' }).map((text) => Buffer.from(text)),
    fc.constantFrom('\ufeffbom', '"\\\u0001\u2028', '..a', '\u007f').map((text) => Buffer.from(text)),
    bytes(1, 60),
  )
  .map((name) => Buffer.from(name.map((byte) => (byte === 0 || byte === 0x2f ? 0x5f : byte))))
  .map((name) => (name.equals(Buffer.from('.')) ? Buffer.from('dot') : name).subarray(0, 255));

const item: fc.Arbitrary<RecipeItem> = fc.oneof(
  fc.record({ kind: fc.constant('block' as const), id, length: size }),
  fc.record({ kind: fc.constant('zeros' as const), length: size }),
  fc.record({ kind: fc.constant('recipe' as const), id, length: size, blockLength: u32 }),
);
const holes: fc.Arbitrary<HoleMap> = fc.oneof(
  fc.record({
    kind: fc.constant('inline' as const),
    holes: fc.array(fc.record({ offset: size, length: size }), { maxLength: 64, size: 'small' }),
  }),
  fc.record({ kind: fc.constant('block' as const), id, blockLength: u32 }),
);
const recipe: fc.Arbitrary<Recipe> = fc.record({
  depth: fc.integer({ min: 0, max: 6 }),
  items: fc.array(item, { maxLength: 64, size: 'small' }),
  holes,
});
const xattr: fc.Arbitrary<Xattr> = fc.record({
  name: bytes(1, 60),
  value: fc.oneof(bytes(0, 1024), fc.record({ id, length: u32 })),
});
const userName = fc.oneof(fc.constantFrom('', 'root', 'ann'), fc.string({ maxLength: 80, unit: 'grapheme' }));

/** Every kind of entry, each field over all of its range. */
const anyState: fc.Arbitrary<EntryState> = fc
  .record({
    type: fc.constantFrom(...Object.values(EntryType)),
    flags: fc.integer({ min: 0, max: 255 }),
    mode: fc.integer({ min: 0, max: 0xffff }),
    uid: u32,
    gid: u32,
    user: userName,
    group: userName,
    mtimeSec: i64,
    mtimeNsec: u32,
    size,
    linkGroup: fc.oneof(fc.constant(0n), u64),
    rdevMajor: u32,
    rdevMinor: u32,
    target: fc.oneof(fc.constant(Buffer.alloc(0)), bytes(1, 300)),
    xattrs: fc.array(xattr, { maxLength: 4 }),
    digest: id,
    recipe,
  })
  .map((state) =>
    state.type === EntryType.file ? state : { ...state, digest: undefined, recipe: undefined },
  );

const anyHints: fc.Arbitrary<EntryHints> = fc.record({
  ctimeSec: i64,
  ctimeNsec: u32,
  nlink: u32,
  dev: u64,
  ino: u64,
});

export const anyRecord: fc.Arbitrary<AnyRecord> = fc.record({
  op: fc.constantFrom('present' as const, 'present' as const, 'gone' as const, 'kept' as const),
  name: anyName,
  state: anyState,
  hints: anyHints,
  code: fc.integer({ min: 0, max: 0xffff }),
});

const anyDir = fc
  .array(anyName, { maxLength: 4 })
  .map((names) => names.reduce<Buffer>((dir, name) => joinPath(dir, name), Buffer.alloc(0)));

export const anyGroups: fc.Arbitrary<AnyGroup[]> = fc.array(
  fc.record({ dir: anyDir, records: fc.array(anyRecord, { minLength: 1, maxLength: 5 }) }),
  { maxLength: 4 },
);

export function stateBytes(state: EntryState): Buffer {
  const out = new ByteWriter();
  encodeState(state, out);
  return out.finish();
}

export function hintBytes(hints: EntryHints): Buffer {
  const out = new ByteWriter();
  encodeHints(hints, out);
  return out.finish();
}

/** The groups one behind the other, also where two of them are of one directory, as bodies of several workers are. */
export function bodyOf(groups: readonly AnyGroup[]): { body: Buffer; count: number } {
  const parts = groups.map(({ dir, records }) => {
    const writer = new RecordWriter();
    for (const { op, name, state, hints, code } of records) {
      if (op === 'present') writer.present(dir, name, stateBytes(state), hintBytes(hints));
      else if (op === 'gone') writer.gone(dir, name);
      else writer.kept(dir, name, code);
    }
    return writer.finish();
  });
  return { body: Buffer.concat(parts), count: groups.reduce((sum, { records }) => sum + records.length, 0) };
}
