import { mkdir, realpath } from 'node:fs/promises';
import { TmError } from '../model/errors.ts';
import * as posix from '../posix/index.ts';
import { DirectoryHandle } from './directory-handle.ts';
import type { FolderIdentity } from './protocol.ts';
import { isForbidden } from './removal.ts';

export interface TargetOptions {
  /** Made when it is not there. */
  readonly target: Buffer | string;
  readonly dryRun: boolean;
  readonly forbidden: readonly FolderIdentity[];
}

export interface OpenTarget {
  /** Undefined in a dry run where it is not there. */
  readonly root: DirectoryHandle | undefined;
  /** It was made now. */
  readonly fresh: boolean;
}

/** Throws TM1603 where the target can't be used, or is home or store or lies in them. */
export async function openTarget({ target, dryRun, forbidden }: TargetOptions): Promise<OpenTarget> {
  try {
    const made = dryRun ? undefined : await mkdir(target, { recursive: true, mode: 0o700 });
    let real: Buffer;
    try {
      real = await realpath(target, { encoding: 'buffer' });
    } catch (error) {
      if (dryRun && (error as NodeJS.ErrnoException).code === 'ENOENT')
        return { root: undefined, fresh: true };
      throw error;
    }
    for (let path = real; ; path = parentFolder(path)) {
      if (isForbidden(statFolder(path), forbidden))
        throw new TmError('TM1603', `${target} lies inside the store or home`);
      if (path.length === 1) break;
    }
    const fd = posix.open(real, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW);
    return { root: new DirectoryHandle(fd), fresh: made !== undefined };
  } catch (error) {
    if (error instanceof TmError) throw error;
    throw new TmError('TM1603', `${target}: ${(error as Error).message}`, { cause: error });
  }
}

const parentFolder = (path: Buffer): Buffer => path.subarray(0, Math.max(1, path.lastIndexOf(0x2f)));

/** Folders on the way need not be readable, only passable. */
function statFolder(path: Buffer): posix.Stat {
  const fd = posix.open(path, posix.O_PATH | posix.O_DIRECTORY);
  try {
    const stat = new posix.Stat();
    posix.check(posix.fstat(fd, stat), 'fstat');
    return stat;
  } finally {
    posix.close(fd);
  }
}
