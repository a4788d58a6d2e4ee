import { isUtf8 } from 'node:buffer';
import { fromText } from './byte-text.ts';

/**
 * A tree path names an entry below its source's root: the components joined by NUL, the root itself being empty.
 * NUL cannot occur in a name and sorts before every other byte, so that `Buffer.compare` of two tree paths is the
 * order of a depth-first walk with names sorted by bytes. '/' appears only at the edges (command line, JSON, disk).
 */
export type TreePath = Buffer;

const SEPARATOR = 0x00;
const SLASH = 0x2f;
const EMPTY = Buffer.alloc(0);

/** Longest tree path that a backup holds, in bytes (PATH_MAX less the NUL that ends it). */
export const MAX_PATH_BYTES = 4095;
export const MAX_NAME_BYTES = 255;

export const ROOT: TreePath = EMPTY;

export function joinPath(dir: TreePath, name: Buffer): TreePath {
  if (dir.length === 0) return Buffer.from(name);
  const path = Buffer.allocUnsafe(dir.length + 1 + name.length);
  dir.copy(path, 0);
  path[dir.length] = SEPARATOR;
  name.copy(path, dir.length + 1);
  return path;
}

export function parentPath(path: TreePath): TreePath {
  const cut = path.lastIndexOf(SEPARATOR);
  return cut < 0 ? EMPTY : path.subarray(0, cut);
}

export function baseName(path: TreePath): Buffer {
  return path.subarray(path.lastIndexOf(SEPARATOR) + 1);
}

export function splitPath(path: TreePath): Buffer[] {
  const names: Buffer[] = [];
  let start = 0;
  for (let at = path.indexOf(SEPARATOR); at >= 0; at = path.indexOf(SEPARATOR, start)) {
    names.push(path.subarray(start, at));
    start = at + 1;
  }
  if (path.length > 0) names.push(path.subarray(start));
  return names;
}

/** True for `path` itself and everything below it. */
export function isWithin(path: TreePath, ancestor: TreePath): boolean {
  if (ancestor.length === 0) return true;
  if (path.length < ancestor.length || ancestor.compare(path, 0, ancestor.length) !== 0) return false;
  return path.length === ancestor.length || path[ancestor.length] === SEPARATOR;
}

/** Order of runs, state files and restores: by directory, then by name. The root has neither and comes first. */
export function compareEntries(dirA: TreePath, nameA: Buffer, dirB: TreePath, nameB: Buffer): number {
  return Buffer.compare(dirA, dirB) || Buffer.compare(nameA, nameB);
}

/** A relative path with slashes, as bytes or their text (byte-text.ts); redundant slashes and '.' are dropped. */
export function fromSlashes(path: string | Uint8Array): TreePath {
  const bytes = typeof path === 'string' ? fromText(path) : Buffer.from(path);
  const names: Buffer[] = [];
  let start = 0;
  for (let i = 0; i <= bytes.length; i++) {
    if (i < bytes.length && bytes[i] !== SLASH) continue;
    const name = bytes.subarray(start, i);
    if (name.length > 0 && !(name.length === 1 && name[0] === 0x2e)) names.push(name);
    start = i + 1;
  }
  return names.reduce<TreePath>((dir, name) => joinPath(dir, name), EMPTY);
}

/** The path's bytes with slashes between names. */
export function toSlashes(path: TreePath): Buffer {
  const bytes = Buffer.from(path);
  for (let i = 0; i < bytes.length; i++) if (bytes[i] === SEPARATOR) bytes[i] = SLASH;
  return bytes;
}

export type JsonPath = string | { base64: string };

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Bytes for JSON: text when they are valid UTF-8, else base64 with a marker. */
export function bytesToJson(bytes: Buffer): JsonPath {
  return isUtf8(bytes) ? bytes.toString('utf8') : { base64: bytes.toString('base64') };
}

export function pathToJson(path: TreePath): JsonPath {
  return path.length === 0 ? '.' : bytesToJson(toSlashes(path));
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is escaped
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\\]/gu;

/** For terminals: control and direction characters, backslashes and bytes that are not UTF-8 are escaped. */
export function bytesToDisplay(bytes: Buffer): string {
  const escapeChar = (c: string): string => {
    const code = c.codePointAt(0) ?? 0;
    if (c === '\\') return '\\\\';
    if (c === '\n') return '\\n';
    if (c === '\t') return '\\t';
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
  };
  try {
    return utf8.decode(bytes).replace(UNPRINTABLE, escapeChar);
  } catch {
    let text = '';
    for (const byte of bytes) {
      text +=
        byte >= 0x20 && byte < 0x7f && byte !== 0x5c
          ? String.fromCharCode(byte)
          : `\\x${byte.toString(16).padStart(2, '0')}`;
    }
    return text;
  }
}

export function pathToDisplay(path: TreePath): string {
  return path.length === 0 ? '.' : bytesToDisplay(toSlashes(path));
}
