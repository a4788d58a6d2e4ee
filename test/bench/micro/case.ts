/** One inner loop with input of its own. */
export interface Prepared {
  /** Does all of it once: how many units that were. */
  run(): number | Promise<number>;
  /** Throws where the last run's result is wrong. */
  check(): void;
  close?(): void | Promise<void>;
}

export interface MicroCase {
  readonly name: string;
  /** Bytes are told as MB/s, others as nanoseconds each. */
  readonly unit: 'byte' | 'block' | 'entry' | 'id';
  /** `scale` 1: what takes tens of milliseconds; the input is the same for the same scale. */
  prepare(scale: number): Prepared | Promise<Prepared>;
}

/** Bytes that no compressor shrinks and that are the same each time. */
export function noise(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length + 4);
  let state = seed;
  for (let at = 0; at < length; at += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes.writeUInt32LE(Math.imul(state ^ (state >>> 15), 2246822519) >>> 0, at);
  }
  return bytes.subarray(0, length);
}

/** Lines of words, as in sources. */
export function text(length: number, seed = 1): Buffer {
  const picks = noise(length, seed);
  let lines = '';
  for (let at = 0; lines.length < length; at++)
    lines += `${WORDS[picks[at]!]}${picks[at]! % 11 === 0 ? '\n  ' : ' '}`;
  return Buffer.from(lines.slice(0, length));
}

const WORDS = Array.from({ length: 256 }, (_, i) => ((i * 2654435761) >>> 3).toString(36));

export function hold(condition: boolean, what: string): void {
  if (!condition) throw new Error(`wrong result: ${what}`);
}

export const MIB = 1024 * 1024;
