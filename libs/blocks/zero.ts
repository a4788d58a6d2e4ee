const ZEROS = Buffer.alloc(64 * 1024);

/** True when all bytes are zero; false for no bytes. Most data fails at the first byte. */
export function isZero(bytes: Buffer): boolean {
  if (bytes.length === 0 || bytes[0] !== 0) return false;
  for (let at = 0; at < bytes.length; at += ZEROS.length) {
    const end = Math.min(bytes.length, at + ZEROS.length);
    if (ZEROS.compare(bytes, at, end, 0, end - at) !== 0) return false;
  }
  return true;
}
