import { fileURLToPath } from 'node:url';
import { type FolderIdentity, identify } from '../agent/folder-identity.ts';
import { registryFolder } from '../registry/embedded/registry-folder.ts';
import type { Engine } from './engine.ts';

/** The folder of a file:// store; a bucket has none. */
export const storeFolder = (url: string): string | undefined =>
  url.startsWith('file:') ? fileURLToPath(url) : undefined;

/** Home, store, and the embedded registry, which may lie elsewhere: no part of a source, no target of a restore. */
export function ownPaths(engine: Engine): string[] {
  const registry = engine.config.registryUrl ? undefined : registryFolder(engine.home.path);
  return [engine.home.path, storeFolder(engine.store.url), registry].filter((path) => path !== undefined);
}

/** The same by identity, so that no other name of them leads in. */
export const ownFolders = (engine: Engine): FolderIdentity[] =>
  ownPaths(engine)
    .map(identify)
    .filter((one) => one !== undefined);
