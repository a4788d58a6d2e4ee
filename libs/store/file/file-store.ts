import type { link } from 'node:fs/promises';
import { unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { TmError } from '../../model/errors.ts';
import { checkObjectName, isObjectName } from '../object-name.ts';
import type { CollectableStore, ObjectInfo } from '../port.ts';
import { isAbsence, toStoreError } from './file-errors.ts';
import { folderOfUrl } from './file-url.ts';
import { holdsBytes, readFileRange, syncFolder, writeNewFile } from './files.ts';
import { Folders, makeFolders } from './folders.ts';
import { folderOfPrefix, listFolder, statObject } from './list-folder.ts';
import { FilePlacer, type Placing } from './place-file.ts';
import { RootGuard } from './root-guard.ts';
import { removeIfThere, TempFolder } from './temp-folder.ts';

/** Times that an object is written anew because a rival for its name removed its temporary file. */
const MAX_ATTEMPTS = 8;
/** Upper bound in milliseconds of the random wait between them. */
const ATTEMPT_DELAY = 20;

export interface FileStoreOptions {
  /** Makes the folder and its parents where they are missing. */
  readonly create: boolean;
  /** Stands in for link(2) where a test needs a file system without it. */
  readonly hardLink?: typeof link;
}

/**
 * Opens file:///dir. Where the folder is missing: TM1202, or it is made. Writes nothing else; removes what processes
 * that died left in tmp/. Throws TM1002 (bad URL, no folder) and TM1201 (not readable).
 */
export async function openFileStore(url: string, options: FileStoreOptions): Promise<CollectableStore> {
  const path = folderOfUrl(url);
  try {
    if (options.create) await makeFolders(path);
    const store = new FileStore(await RootGuard.at(path), options.hardLink);
    await store.tidy(new Date());
    return store;
  } catch (error) {
    if (!isAbsence(error)) throw toStoreError(error, path);
    throw new TmError('TM1202', `${path} does not exist; is it mounted?`, { cause: error });
  }
}

class FileStore implements CollectableStore {
  readonly url: string;
  readonly #root: RootGuard;
  readonly #folders: Folders;
  readonly #temps: TempFolder;
  readonly #placer: FilePlacer;

  constructor(root: RootGuard, hardLink: typeof link | undefined) {
    this.url = pathToFileURL(root.path).href;
    this.#root = root;
    this.#folders = new Folders(root.path);
    this.#temps = new TempFolder(root.path);
    this.#placer = new FilePlacer(this.#temps, hardLink);
  }

  /** What can't be tidied (a read-only store, no tmp/ yet) does no harm. */
  async tidy(now: Date): Promise<void> {
    await this.#temps.removeLeftovers(now).catch(() => undefined);
  }

  async create(name: string, parts: readonly Uint8Array[]): Promise<'created' | 'existed'> {
    checkObjectName(name);
    return this.#guarded(name, async () => {
      await this.#root.check();
      await this.#folders.ensure(this.#temps.folder);
      await this.#folders.ensure(dirname(name));
      for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        const placing = await this.#write(name, parts);
        if (placing === 'lost') {
          await setTimeout(Math.random() * ATTEMPT_DELAY);
          continue;
        }
        if (placing === 'taken' && !(await holdsBytes(this.#path(name), parts)))
          throw new TmError('TM1210', name);
        await syncFolder(dirname(this.#path(name)));
        return placing === 'placed' ? 'created' : 'existed';
      }
      throw new TmError('TM1211', `${name} is being written by others`);
    });
  }

  async #write(name: string, parts: readonly Uint8Array[]): Promise<Placing> {
    const temp = this.#temps.newPath(name);
    try {
      await writeNewFile(temp, parts);
      return await this.#placer.place(temp, this.#path(name), name);
    } finally {
      await removeIfThere(temp).catch(() => undefined);
    }
  }

  async read(name: string, range?: { offset: number; length: number }): Promise<Buffer> {
    checkObjectName(name);
    return this.#guarded(name, async () => {
      try {
        return await readFileRange(this.#path(name), name, range);
      } catch (error) {
        if (!isAbsence(error)) throw error;
        await this.#root.check();
        throw new TmError('TM1205', name, { cause: error });
      }
    });
  }

  fileOf(name: string): string {
    checkObjectName(name);
    return this.#path(name);
  }

  async stat(name: string): Promise<ObjectInfo | undefined> {
    checkObjectName(name);
    return this.#guarded(name, async () => {
      const info = await statObject(this.#root.path, name);
      if (info === undefined) await this.#root.check();
      return info;
    });
  }

  async *list(prefix: string, after = ''): AsyncGenerator<ObjectInfo> {
    const folder = folderOfPrefix(prefix);
    try {
      await this.#root.check();
      if (folder !== '' && !isObjectName(folder.slice(0, -1))) return;
      yield* listFolder(this.#root.path, folder, { prefix, after });
      await this.#root.check();
    } catch (error) {
      throw toStoreError(error, `listing ${prefix}`);
    }
  }

  /** Not synced: after a power failure the object may be there again, which collection finds as unknown. */
  async delete(name: string): Promise<void> {
    checkObjectName(name);
    await this.#guarded(name, async () => {
      try {
        await unlink(this.#path(name));
      } catch (error) {
        if (!isAbsence(error)) throw error;
        await this.#root.check();
      }
    });
  }

  async close(): Promise<void> {}

  #path(name: string): string {
    return join(this.#root.path, name);
  }

  /** Turns what the system says into the store's words; what is unexpectedly gone may be gone with the root. */
  async #guarded<T>(name: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (isAbsence(error)) {
        this.#folders.forget();
        await this.#root.check();
      }
      throw toStoreError(error, name);
    }
  }
}
