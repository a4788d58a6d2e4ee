import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { TmError } from '../../model/errors.ts';
import { checkRange } from '../object-range.ts';
import { errnoOf } from './file-errors.ts';

const COMPARED_AT_ONCE = 1024 * 1024;
/** O_NONBLOCK: a FIFO that somebody put there is refused instead of waited for. */
const READ = constants.O_RDONLY | constants.O_NONBLOCK;

/** Makes a new file (0600) of the parts' concatenation, durable but for its name. */
export async function writeNewFile(path: string, parts: readonly Uint8Array[]): Promise<void> {
  await using file = await open(path, 'wx', 0o600);
  let rest = parts.filter((part) => part.length > 0);
  while (rest.length > 0) {
    const { bytesWritten } = await file.writev(rest);
    if (bytesWritten === 0) throw new TmError('TM1211', `${path} takes no more bytes`);
    rest = withoutFirst(rest, bytesWritten);
  }
  await file.sync();
}

function withoutFirst(parts: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let cut = bytes;
  let first = 0;
  while (first < parts.length && cut >= parts[first]!.length) cut -= parts[first++]!.length;
  const rest = parts.slice(first);
  if (cut > 0) rest[0] = rest[0]!.subarray(cut);
  return rest;
}

/** Throws TM1205 (`name` is no file) or TM1206 (shorter than asked, or than it was when it was opened). */
export async function readFileRange(
  path: string,
  name: string,
  range: { offset: number; length: number } | undefined,
): Promise<Buffer> {
  await using file = await open(path, READ);
  const info = await file.stat();
  if (!info.isFile()) throw new TmError('TM1205', `${name} is no file`);
  const { offset, length } = checkRange(name, info.size, range);
  const bytes = Buffer.allocUnsafe(length);
  if ((await readFully(file, bytes, offset)) < length) throw new TmError('TM1206', `${name} ends too early`);
  return bytes;
}

async function readFully(file: FileHandle, into: Buffer, offset: number): Promise<number> {
  let filled = 0;
  while (filled < into.length) {
    const { bytesRead } = await file.read(into, filled, into.length - filled, offset + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return filled;
}

/**
 * Whether the file holds exactly the parts' concatenation. If so it is made durable as well, since whoever wrote it
 * may have died before doing that.
 */
export async function holdsBytes(path: string, parts: readonly Uint8Array[]): Promise<boolean> {
  await using file = await open(path, READ);
  const info = await file.stat();
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  if (!info.isFile() || info.size !== size) return false;
  const buffer = Buffer.allocUnsafe(Math.min(size, COMPARED_AT_ONCE));
  let at = 0;
  for (const part of parts) {
    for (let from = 0; from < part.length; from += COMPARED_AT_ONCE) {
      const wanted = part.subarray(from, from + COMPARED_AT_ONCE);
      const found = buffer.subarray(0, wanted.length);
      if ((await readFully(file, found, at)) < wanted.length || !found.equals(wanted)) return false;
      at += wanted.length;
    }
  }
  await file.sync();
  return true;
}

/** Makes the names in a folder durable. File systems that can't sync folders (EINVAL) keep them durable themselves. */
export async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await folder.sync();
  } catch (error) {
    const errno = errnoOf(error);
    if (errno !== 'EINVAL' && errno !== 'ENOTSUP') throw error;
  }
}
