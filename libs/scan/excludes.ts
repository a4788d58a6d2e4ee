import { isUtf8 } from 'node:buffer';
import ignore, { type Ignore } from 'ignore';

/** Paths after which the matcher is made anew: it remembers every path that it was asked about. */
const PATHS_REMEMBERED = 4096;
const OPTIONS = { ignoreCase: false };

/**
 * Patterns in gitignore's language (gitignore(5)), relative to the source's root; the last one that matches decides.
 * Case matters. One string or buffer may hold many lines.
 */
export class ExcludeRules {
  readonly #rules = ignore(OPTIONS);
  #matcher: Ignore = this.#rules;
  #asked = 0;
  readonly isEmpty: boolean;

  constructor(patterns: readonly (string | Buffer)[] = []) {
    this.isEmpty = patterns.length === 0;
    for (const pattern of patterns) this.#rules.add(typeof pattern === 'string' ? pattern : toText(pattern));
  }

  /** `path`: slashes between names, by `toText`. Asked from the top down: what is below an excluded one isn't asked. */
  excludes(path: string, isDirectory: boolean): boolean {
    if (this.#asked++ % PATHS_REMEMBERED === 0) this.#matcher = ignore(OPTIONS).add(this.#rules);
    return this.#matcher.ignores(isDirectory ? `${path}/` : path);
  }
}

/**
 * Text of a name or pattern, such that different bytes are different texts: UTF-8, and each byte that is no part of
 * valid UTF-8 as one of the code units U+DC80 to U+DCFF, which UTF-8 can't encode.
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

/** Of the UTF-8 sequence that begins with `byte`; 0 when none does. */
function sequenceLength(byte: number): number {
  if (byte < 0x80) return 1;
  if (byte < 0xc2) return 0;
  if (byte < 0xe0) return 2;
  if (byte < 0xf0) return 3;
  return byte < 0xf5 ? 4 : 0;
}
