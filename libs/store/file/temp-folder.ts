import { randomBytes } from 'node:crypto';
import { readdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { blake3 } from '../../model/digests.ts';
import { RESERVED_COMPONENT } from '../object-name.ts';
import { errnoOf, isAbsence } from './file-errors.ts';

const TEMP_NAME = /^[0-9a-f]{16}\.(\d+)\.[0-9a-f]{16}$/;
/** A process of another host can't be asked whether it lives, but no object takes a day to write. */
const LEFTOVER_AGE_MS = 24 * 60 * 60 * 1000;

/**
 * Where objects are written before they get their names: `tmp/` of a store's root, so on its file system.
 * A file is called `<tag of the object's name>.<pid>.<random>`.
 */
export class TempFolder {
  /** Relative to the root. */
  readonly folder = RESERVED_COMPONENT;
  readonly path: string;

  constructor(root: string) {
    this.path = join(root, this.folder);
  }

  newPath(name: string): string {
    return join(this.path, `${tagOf(name)}.${process.pid}.${randomBytes(8).toString('hex')}`);
  }

  /** Removes all files of an object but `own`. Their writers notice when they rename them. */
  async removeRivals(name: string, own: string): Promise<void> {
    for (const file of await readdir(this.path)) {
      const path = join(this.path, file);
      if (file.startsWith(`${tagOf(name)}.`) && path !== own) await removeIfThere(path);
    }
  }

  /** Removes what processes left that died while they wrote, once it is a day old. */
  async removeLeftovers(now: Date): Promise<void> {
    for (const file of await readdir(this.path)) {
      const pid = TEMP_NAME.exec(file)?.[1];
      if (pid === undefined || isAlive(Number(pid))) continue;
      const path = join(this.path, file);
      const { mtimeMs } = await stat(path);
      if (now.getTime() - mtimeMs > LEFTOVER_AGE_MS) await removeIfThere(path);
    }
  }
}

const tagOf = (name: string): string => blake3(Buffer.from(name)).toString('hex', 0, 8);

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) !== 'ESRCH';
  }
}

export async function removeIfThere(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (!isAbsence(error)) throw error;
  }
}
