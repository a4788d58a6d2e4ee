import { expect, test } from 'vitest';
import { ByteWriter } from './byte-writer.ts';
import { EntryHasher } from './digests.ts';
import { decodeHints, decodeState, type EntryState, EntryType, encodeHints, encodeState } from './entry.ts';
import { RecordOp, RecordWriter, readRecords } from './records.ts';
import { fromSlashes } from './tree-path.ts';

/** docs/2-formats-blocks.md, "State of an entry" and "Records". */
const NONE: EntryState = {
  type: EntryType.directory,
  flags: 0,
  mode: 0o755,
  uid: 1000,
  gid: 100,
  user: 'ann',
  group: '',
  mtimeSec: -2n,
  mtimeNsec: 999_999_999,
  size: 0,
  linkGroup: 0n,
  rdevMajor: 0,
  rdevMinor: 0,
  target: Buffer.alloc(0),
  xattrs: [],
  digest: undefined,
  recipe: undefined,
};
const id = (byte: number): Buffer => Buffer.alloc(32, byte);

function hexOf(state: EntryState): string {
  const out = new ByteWriter();
  encodeState(state, out);
  const bytes = out.finish();
  expect(decodeState(bytes)).toEqual(state);
  return bytes.toString('hex');
}

test('golden bytes of the state of every type of entry', () => {
  const file: EntryState = {
    ...NONE,
    type: EntryType.file,
    flags: 1,
    mode: 0o4644,
    size: 5_000_000_000,
    linkGroup: 0x8000_0000_0000_0001n,
    xattrs: [
      { name: Buffer.from('user.a'), value: Buffer.from('v') },
      { name: Buffer.from('user.b'), value: { id: id(0xbb), length: 70_000 } },
    ],
    digest: id(0xdd),
    recipe: {
      depth: 1,
      items: [
        { kind: 'block', id: id(1), length: 10 },
        { kind: 'zeros', length: 4096 },
        { kind: 'recipe', id: id(2), length: 4_000_000_000, blockLength: 99 },
      ],
      holes: { kind: 'inline', holes: [{ offset: 8192, length: 4096 }] },
    },
  };
  const holesInBlock: EntryState = {
    ...file,
    flags: 0,
    linkGroup: 0n,
    xattrs: [],
    recipe: { depth: 0, items: [], holes: { kind: 'block', id: id(3), blockLength: 1604 } },
  };
  const target = Buffer.from([0x2e, 0x2f, 0xff]);
  const device = { rdevMajor: 8, rdevMinor: 1 };
  expect({
    file: hexOf(file),
    holesInBlock: hexOf(holesInBlock),
    directory: hexOf(NONE),
    symlink: hexOf({ ...NONE, type: EntryType.symlink, target }),
    fifo: hexOf({ ...NONE, type: EntryType.fifo, group: 'users' }),
    charDevice: hexOf({ ...NONE, ...device, type: EntryType.charDevice }),
    blockDevice: hexOf({ ...NONE, ...device, type: EntryType.blockDevice }),
  }).toMatchInlineSnapshot(`
    {
      "blockDevice": "0600ed01e803000064000000feffffffffffffffffc99a3b00000000000000000000000000000000080000000100000003616e6e0000000000",
      "charDevice": "0500ed01e803000064000000feffffffffffffffffc99a3b00000000000000000000000000000000080000000100000003616e6e0000000000",
      "directory": "0200ed01e803000064000000feffffffffffffffffc99a3b00000000000000000000000000000000000000000000000003616e6e0000000000",
      "fifo": "0400ed01e803000064000000feffffffffffffffffc99a3b00000000000000000000000000000000000000000000000003616e6e05757365727300000000",
      "file": "0101a409e803000064000000feffffffffffffffffc99a3b00f2052a010000000100000000000080000000000000000003616e6e000000020006757365722e6100010000007606757365722e620170110100bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbdddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd0103000000010a0000000000000001010101010101010101010101010101010101010101010101010101010101010300100000000000000200286bee00000000630000000202020202020202020202020202020202020202020202020202020202020202000100000000200000000000000010000000000000",
      "holesInBlock": "0100a409e803000064000000feffffffffffffffffc99a3b00f2052a010000000000000000000000000000000000000003616e6e0000000000dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd000000000001440600000303030303030303030303030303030303030303030303030303030303030303",
      "symlink": "0300ed01e803000064000000feffffffffffffffffc99a3b00000000000000000000000000000000000000000000000003616e6e0003002e2fff0000",
    }
  `);
});

test('golden bytes of hints, of a body of records, and of an entry hash', () => {
  const hints = new ByteWriter();
  const state = new ByteWriter();
  const value = { ctimeSec: -1n, ctimeNsec: 5, nlink: 2, dev: 2n ** 64n - 1n, ino: 77n };
  encodeHints(value, hints);
  encodeState(NONE, state);
  const [hintBytes, stateBytes] = [hints.finish(), state.finish()];
  expect(decodeHints(hintBytes)).toEqual(value);
  const writer = new RecordWriter();
  const [root, dir, name] = [fromSlashes(''), fromSlashes('a/b'), Buffer.from('n')];
  writer.present(root, root, stateBytes, hintBytes);
  writer.present(dir, name, stateBytes, hintBytes);
  writer.gone(dir, Buffer.from([0xff]));
  writer.kept(dir, Buffer.from('x'), 1110);
  const body = writer.finish();
  expect([...readRecords(body)].map(({ op, code }) => [op, code])).toEqual([
    [1, 0],
    [1, 0],
    [2, 0],
    [3, 1110],
  ]);
  const copied = new RecordWriter();
  for (const { op, ...record } of readRecords(body)) {
    const [source, length] = [
      Buffer.concat(Object.values(record).filter(Buffer.isBuffer)),
      record.dir.length,
    ];
    const nameAt = length;
    const stateAt = nameAt + record.name.length;
    const parts = { source, dirAt: 0, dirLength: length, nameAt, nameLength: record.name.length };
    const { state } = record;
    const more = { stateAt, stateLength: state.length, hintsAt: stateAt + state.length };
    if (op === RecordOp.kept) copied.kept(record.dir, record.name, record.code);
    else copied.copy(op, { ...parts, ...more });
  }
  expect(copied.finish()).toEqual(body);
  const hash = new EntryHasher(Buffer.alloc(32, 9)).hash(dir, name, stateBytes);
  expect({
    hints: hintBytes.toString('hex'),
    body: body.toString('hex'),
    hash: hash.toString('hex'),
  }).toMatchInlineSnapshot(`
    {
      "body": "000001000100390000000200ed01e803000064000000feffffffffffffffffc99a3b00000000000000000000000000000000000000000000000003616e6e0000000000ffffffffffffffff0500000002000000ffffffffffffffff4d000000000000000300610062030001016e390000000200ed01e803000064000000feffffffffffffffffc99a3b00000000000000000000000000000000000000000000000003616e6e0000000000ffffffffffffffff0500000002000000ffffffffffffffff4d000000000000000201ff0301785604",
      "hash": "8fba47476b5dadd24816d0250023be1ca7522725445a549b01d08609be252f6d",
      "hints": "ffffffffffffffff0500000002000000ffffffffffffffff4d00000000000000",
    }
  `);
});
