import fc from 'fast-check';
import { expect, it } from 'vitest';
import { BinaryRows } from './binary-rows.ts';

const HEADER = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1');
const TRAILER = Buffer.from([0xff, 0xff]);

const field = (value: Buffer | null): Buffer => {
  const length = Buffer.alloc(4);
  length.writeInt32BE(value === null ? -1 : value.length);
  return value === null ? length : Buffer.concat([length, value]);
};
const rowOf = (fields: readonly (Buffer | null)[]): Buffer =>
  Buffer.concat([Buffer.from([0, fields.length]), ...fields.map(field)]);
const encode = (rows: readonly (Buffer | null)[][]): Buffer =>
  Buffer.concat([HEADER, ...rows.map(rowOf), TRAILER]);

const COLUMNS = 3;
const value = fc.oneof(
  fc.constant(null),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  fc.integer({ min: 0, max: 500_000 }).map((length) => Buffer.alloc(length, length)),
);
const table = fc.array(fc.array(value, { minLength: COLUMNS, maxLength: COLUMNS }), { maxLength: 12 });

it('gives the rows that went in, whatever pieces they come in and whenever they are taken', () => {
  const cuts = fc.array(fc.tuple(fc.nat(), fc.boolean()), { maxLength: 20 });
  fc.assert(
    fc.property(table, cuts, (rows, pieces) => {
      const bytes = encode(rows);
      const ends = [...new Map(pieces.map(([at, take]) => [at % bytes.length, take]))].sort(
        ([a], [b]) => a - b,
      );
      const input = new BinaryRows();
      const output: (Buffer | null)[][] = [];
      const take = () =>
        output.push(...input.take((row) => [row.bytesOrNull(0), row.bytesOrNull(1), row.bytesOrNull(2)]));
      let from = 0;
      for (const [end, takes] of [...ends, [bytes.length, true] as const]) {
        const piece = Buffer.from(bytes.subarray(from, end));
        input.push(piece);
        piece.fill(0xee); // what was pushed belongs to somebody else
        if (takes) take();
        from = end;
      }
      expect(encode(output).equals(bytes)).toBe(true);
      expect([input.complete, input.bytes]).toEqual([true, 0]);
    }),
    { numRuns: 150 },
  );
});

it('knows that the end has not come', () => {
  const bytes = encode([[Buffer.from('a')], [Buffer.from('b')]]);
  for (let length = 0; length < bytes.length; length++) {
    const input = new BinaryRows();
    input.push(bytes.subarray(0, length));
    input.take((row) => row.bytes(0));
    expect(input.complete).toBe(false);
  }
});

it('reads numbers and text', () => {
  const numbers = Buffer.alloc(8);
  const input = new BinaryRows();
  const values = [0, 1, -1, 2 ** 31, 2 ** 53 - 1, -(2 ** 53 - 1)];
  input.push(HEADER);
  for (const number of values) {
    numbers.writeBigInt64BE(BigInt(number));
    input.push(rowOf([numbers, Buffer.from([0xff, 0xfe]), Buffer.from('née')]));
  }
  expect(input.take((row) => [row.int8(0), row.int2(1), row.text(2)])).toEqual(
    values.map((number) => [number, -2, 'née']),
  );
});

it('refuses what is not of the format', () => {
  const taken = (bytes: Buffer) => {
    const input = new BinaryRows();
    input.push(bytes);
    return () => input.take((row) => [row.int8(0), row.bytes(1)]);
  };
  const malformed = expect.objectContaining({ code: 'TM1303' });
  const good = [Buffer.alloc(8), Buffer.alloc(0)];
  expect(taken(encode([good]))()).toHaveLength(1);
  expect(taken(Buffer.alloc(40))).toThrow(malformed);
  expect(taken(Buffer.concat([HEADER.subarray(0, 11), Buffer.alloc(8, 1)]))).toThrow(malformed);
  expect(taken(encode([[Buffer.alloc(4), Buffer.alloc(0)]]))).toThrow(malformed);
  expect(taken(encode([[Buffer.alloc(8), null]]))).toThrow(malformed);
  expect(taken(encode([[Buffer.alloc(8)]]))).toThrow(malformed);
  expect(taken(encode([good, [Buffer.alloc(8)]]))).toThrow(malformed);
  expect(taken(Buffer.concat([encode([good]), TRAILER]))).toThrow(malformed);
  expect(taken(Buffer.concat([HEADER, Buffer.from([0, 1, 0xff, 0xff, 0xff, 0xfe])]))).toThrow(malformed);
  expect(taken(Buffer.concat([HEADER, Buffer.from([0xff, 0xfe])]))).toThrow(malformed);
});
