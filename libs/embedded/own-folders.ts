import { close, fstat, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, open, Stat } from '../posix/index.ts';
import type { Engine } from './engine.ts';

export interface FolderIdentity {
  readonly devMajor: number;
  readonly devMinor: number;
  readonly ino: bigint;
}

/** The folder of a file:// store. */
export function storeFolder(engine: Engine): string | undefined {
  return engine.store.url.startsWith('file:')
    ? decodeURIComponent(new URL(engine.store.url).pathname)
    : undefined;
}

/** Home and store: never part of a source, never written to by a restore. */
export function ownFolders(engine: Engine): FolderIdentity[] {
  const folder = storeFolder(engine);
  return [identify(engine.home.path), folder === undefined ? undefined : identify(folder)].filter(
    (one) => one !== undefined,
  );
}

function identify(path: string): FolderIdentity | undefined {
  try {
    const fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    const of = new Stat();
    fstat(fd, of);
    close(fd);
    return { devMajor: of.devMajor, devMinor: of.devMinor, ino: of.ino };
  } catch {
    return undefined;
  }
}
