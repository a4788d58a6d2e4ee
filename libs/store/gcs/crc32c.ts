/** Castagnoli's polynomial, bits reversed. */
const POLYNOMIAL = 0x82f63b78;
/** Bytes that one step takes in. */
const STEP = 16;

/** Of each value of a byte: what it does to the checksum when `s` zero bytes follow it, at 256 s + value. */
const TABLE = makeTable();

function makeTable(): Int32Array {
  const table = new Int32Array(256 * STEP);
  for (let value = 0; value < 256; value++) {
    let crc = value;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    table[value] = crc;
  }
  for (let at = 256; at < table.length; at++) {
    const before = table[at - 256]!;
    table[at] = (before >>> 8) ^ table[before & 255]!;
  }
  return table;
}

/** CRC32C (RFC 3720, appendix B.4) of the concatenation of `parts`, by slicing-by-16 (docs/decisions/003). */
export function crc32c(parts: readonly Uint8Array[]): number {
  let crc = -1;
  for (const part of parts) crc = update(crc, part);
  return ~crc >>> 0;
}

/** As the store gives and takes it: base64 of four bytes, the highest first. */
export function crc32cText(parts: readonly Uint8Array[]): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc32c(parts));
  return bytes.toString('base64');
}

function update(before: number, bytes: Uint8Array): number {
  if (bytes.length < STEP) return updateBytes(before, bytes, 0, bytes.length);
  const aligned = -bytes.byteOffset & 3;
  const words = new Int32Array(bytes.buffer, bytes.byteOffset + aligned, (bytes.length - aligned) >> 2);
  const steps = words.length >> 2;
  const crc = updateWords(updateBytes(before, bytes, 0, aligned), words, steps * 4);
  return updateBytes(crc, bytes, aligned + steps * STEP, bytes.length);
}

function updateBytes(before: number, bytes: Uint8Array, from: number, to: number): number {
  let crc = before;
  for (let at = from; at < to; at++) crc = (crc >>> 8) ^ TABLE[(crc ^ bytes[at]!) & 255]!;
  return crc;
}

/** Little-endian machines only, as all that Tidemark runs on are. */
function updateWords(before: number, words: Int32Array, count: number): number {
  const t = TABLE;
  let crc = before;
  for (let at = 0; at < count; at += 4) {
    const a = words[at]! ^ crc;
    const b = words[at + 1]!;
    const c = words[at + 2]!;
    const d = words[at + 3]!;
    crc =
      t[3840 + (a & 255)]! ^
      t[3584 + ((a >>> 8) & 255)]! ^
      t[3328 + ((a >>> 16) & 255)]! ^
      t[3072 + (a >>> 24)]! ^
      t[2816 + (b & 255)]! ^
      t[2560 + ((b >>> 8) & 255)]! ^
      t[2304 + ((b >>> 16) & 255)]! ^
      t[2048 + (b >>> 24)]! ^
      t[1792 + (c & 255)]! ^
      t[1536 + ((c >>> 8) & 255)]! ^
      t[1280 + ((c >>> 16) & 255)]! ^
      t[1024 + (c >>> 24)]! ^
      t[768 + (d & 255)]! ^
      t[512 + ((d >>> 8) & 255)]! ^
      t[256 + ((d >>> 16) & 255)]! ^
      t[d >>> 24]!;
  }
  return crc;
}
