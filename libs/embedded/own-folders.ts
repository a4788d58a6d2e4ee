import { close, fstat, O_DIRECTORY, O_RDONLY, open, PosixError, Stat } from '../posix/index.ts';
import { registryFolder } from '../registry/embedded/registry-folder.ts';
import type { Engine } from './engine.ts';

export interface FolderIdentity {
  readonly devMajor: number;
  readonly devMinor: number;
  readonly ino: bigint;
}

/** The folder of a file:// store. */
function storeFolder(engine: Engine): string | undefined {
  return engine.store.url.startsWith('file:')
    ? decodeURIComponent(new URL(engine.store.url).pathname)
    : undefined;
}

/** Home, store, and the embedded registry, which may lie elsewhere: no part of a source, no target of a restore. */
export function ownPaths(engine: Engine): string[] {
  const registry = engine.config.registryUrl ? undefined : registryFolder(engine.home.path);
  return [engine.home.path, storeFolder(engine), registry].filter((path) => path !== undefined);
}

/** The same by identity, so that no other name of them leads in. */
export const ownFolders = (engine: Engine): FolderIdentity[] =>
  ownPaths(engine)
    .map(identify)
    .filter((one) => one !== undefined);

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
