import { close, fstat, O_DIRECTORY, O_RDONLY, open, PosixError, Stat } from '../posix/index.ts';

export interface FolderIdentity {
  readonly devMajor: number;
  readonly devMinor: number;
  readonly ino: bigint;
}

/** Symlinks on the way are followed: what counts is the folder itself. Undefined when it is not there (yet). */
export function identify(path: string): FolderIdentity | undefined {
  try {
    const fd = open(path, O_RDONLY | O_DIRECTORY);
    const of = new Stat();
    fstat(fd, of);
    close(fd);
    return { devMajor: of.devMajor, devMinor: of.devMinor, ino: of.ino };
  } catch (error) {
    if (error instanceof PosixError && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
