import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errnoOf } from './file-errors.ts';
import { syncFolder } from './files.ts';

/**
 * Folders below a store's root that this process knows to be durable: a folder that another process made a moment ago
 * may not be, so each is synced in its parent once. As many as there are folders, not objects.
 */
export class Folders {
  readonly #root: string;
  readonly #durable = new Set<string>(['.']);

  constructor(root: string) {
    this.#root = root;
  }

  /** Makes the folder (relative to the root, '.' for the root itself) and its parents, but never the root. */
  async ensure(folder: string): Promise<void> {
    if (this.#durable.has(folder)) return;
    const parent = dirname(folder);
    await this.ensure(parent);
    await makeFolder(join(this.#root, folder));
    await syncFolder(join(this.#root, parent));
    this.#durable.add(folder);
  }

  /** For when a folder turns out to be gone. */
  forget(): void {
    this.#durable.clear();
    this.#durable.add('.');
  }
}

/** Makes an absolute folder and its parents, each durable in its parent. */
export async function makeFolders(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return;
    if (errnoOf(error) !== 'ENOENT') throw error;
    await makeFolders(dirname(path));
    await makeFolder(path);
  }
  await syncFolder(dirname(path));
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  }
}
