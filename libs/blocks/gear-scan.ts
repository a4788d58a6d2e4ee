/**
 * The inner loop of FastCDC as a WebAssembly module, four times as fast as in JavaScript. It is assembled here from its
 * instructions; its memory holds the running fingerprint (at 0), the gear table and, from `DATA` on, the bytes.
 */
const GEAR = 1024;
const DATA = 4096;
const PAGE = 65_536;
/** Bytes looked at between two checks of the end. */
const UNROLLED = 8;

/** Unsigned and signed LEB128. */
function leb(value: number, signed = false): number[] {
  const bytes: number[] = [];
  for (;;) {
    const low = value & 0x7f;
    value = signed ? value >> 7 : value >>> 7;
    const isLast = signed ? (value === 0 && low < 0x40) || (value === -1 && low >= 0x40) : value === 0;
    bytes.push(isLast ? low : low | 0x80);
    if (isLast) return bytes;
  }
}

const section = (id: number, ...content: readonly number[]): number[] => [
  id,
  ...leb(content.length),
  ...content,
];
const text = (value: string): number[] => [value.length, ...Buffer.from(value)];

const I32 = 0x7f;
const VOID = 0x40;
const END = 0x0b;
// Locals of the one function: its parameters (from, to, mask), the fingerprint.
const AT = 0;
const TO = 1;
const MASK = 2;
const PRINT = 3;
const get = (local: number): number[] => [0x20, local];
const set = (local: number): number[] => [0x21, local];
const tee = (local: number): number[] => [0x22, local];
const constant = (value: number): number[] => [0x41, ...leb(value, true)];
const load = (offset: number): number[] => [0x28, 2, ...leb(offset)];
const loadByte = (offset: number): number[] => [0x2d, 0, ...leb(offset)];
const store = (offset: number): number[] => [0x36, 2, ...leb(offset)];
const ADD = 0x6a;
const AND = 0x71;
const SHIFT_LEFT = 0x74;
const IS_ZERO = 0x45;
const LESS_OR_EQUAL = 0x4d;
const LESS = 0x49;
const RETURN = 0x0f;
const ifTrue = (...body: readonly number[]): number[] => [0x04, VOID, ...body, END];
/** Repeats while the body's last value is true. */
const repeat = (...body: readonly number[]): number[] => [0x03, VOID, ...body, 0x0d, 0, END];

/** print = (print << 1) + gear[byte at + n]; returns at + n + 1 where no bit of the mask is set. */
const look = (n: number): number[] => [
  ...[...get(PRINT), ...constant(1), SHIFT_LEFT],
  ...[...get(AT), ...loadByte(n), ...constant(2), SHIFT_LEFT, ...load(GEAR), ADD, ...tee(PRINT)],
  ...[...get(MASK), AND, IS_ZERO],
  ...ifTrue(...get(AT), ...constant(n + 1), ADD, RETURN),
];
const forward = (n: number): number[] => [...get(AT), ...constant(n), ADD, ...set(AT)];
const eightAreLeft = [...get(AT), ...constant(UNROLLED), ADD, ...get(TO), LESS_OR_EQUAL];
const someAreLeft = [...get(AT), ...get(TO), LESS];

const scan = [
  ...[...constant(0), ...load(0), ...set(PRINT)],
  ...eightAreLeft,
  ...ifTrue(
    ...repeat(
      ...Array.from({ length: UNROLLED }, (_, n) => look(n)).flat(),
      ...forward(UNROLLED),
      ...eightAreLeft,
    ),
  ),
  ...someAreLeft,
  ...ifTrue(...repeat(...look(0), ...forward(1), ...someAreLeft)),
  ...[...constant(0), ...get(PRINT), ...store(0)],
  ...constant(0),
];

/** (func (param from to mask) (result end of the block, 0 for none)); addresses are those of the memory. */
function assemble(pages: number): Uint8Array<ArrayBuffer> {
  const body = [1, 1, I32, ...scan, END];
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, 1, 0x60, 3, I32, I32, I32, 1, I32),
    ...section(3, 1, 0),
    ...section(5, 1, 1, ...leb(pages), ...leb(pages)),
    ...section(7, 2, ...text('memory'), 2, 0, ...text('scan'), 0, 0),
    ...section(10, 1, ...leb(body.length), ...body),
  ]);
}

/** Looks for the end of a block in its own memory; see Chunker. */
export interface GearScan {
  readonly buffer: Buffer;
  /** From `from` up to `to` of `buffer`, going on from the fingerprint `print`. 0: no end there. */
  scan(from: number, to: number, mask: number): number;
  print: number;
}

interface Wasm {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
}

/** Undefined where WebAssembly can't be had (node --jitless). */
export function wasmGearScan(gear: Int32Array, memoryBytes: number): GearScan | undefined {
  const wasm = (globalThis as { readonly WebAssembly?: Wasm }).WebAssembly;
  if (!wasm) return undefined;
  const module = new wasm.Module(assemble(Math.ceil((DATA + memoryBytes) / PAGE)));
  const { memory, scan: find } = new wasm.Instance(module).exports as {
    memory: { buffer: ArrayBuffer };
    scan: (from: number, to: number, mask: number) => number;
  };
  new Int32Array(memory.buffer, GEAR, gear.length).set(gear);
  const print = new Int32Array(memory.buffer, 0, 1);
  return {
    buffer: Buffer.from(memory.buffer, DATA, memoryBytes),
    scan(from, to, mask) {
      const end = find(from + DATA, to + DATA, mask);
      return end === 0 ? 0 : end - DATA;
    },
    get print() {
      return print[0]!;
    },
    set print(value) {
      print[0] = value;
    },
  };
}
