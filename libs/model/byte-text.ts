import { isUtf8 } from 'node:buffer';

/**
 * Text of any bytes, such that different bytes are different texts: UTF-8, and each byte that is no part of valid
 * UTF-8 as one of the code units U+DC80 to U+DCFF, which UTF-8 can't encode.
 */
export function toText(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString('utf8');
  let text = '';
  for (let at = 0; at < bytes.length; ) {
    const length = sequenceLength(bytes[at]!);
    const sequence = bytes.subarray(at, at + length);
    if (length > 0 && isUtf8(sequence)) {
      text += sequence.toString('utf8');
      at += length;
    } else text += String.fromCharCode(0xdc00 + bytes[at++]!);
  }
  return text;
}

/** The bytes of which `toText` made the text. */
export function fromText(text: string): Buffer {
  if (text.isWellFormed()) return Buffer.from(text);
  const parts = text.split(/([\udc80-\udcff]+)/u);
  return Buffer.concat(
    parts.map((part, i) =>
      i % 2 === 0 ? Buffer.from(part) : Buffer.from([...part].map((unit) => unit.charCodeAt(0) - 0xdc00)),
    ),
  );
}

/** Of the UTF-8 sequence that begins with `byte`; 0 when none does. */
function sequenceLength(byte: number): number {
  if (byte < 0x80) return 1;
  if (byte < 0xc2) return 0;
  if (byte < 0xe0) return 2;
  if (byte < 0xf0) return 3;
  return byte < 0xf5 ? 4 : 0;
}
