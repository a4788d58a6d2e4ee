import { link, lstat, rename } from 'node:fs/promises';
import { errnoOf, isAbsence } from './file-errors.ts';
import type { TempFolder } from './temp-folder.ts';

/** 'lost': a rival removed the temporary file before it was renamed; write it again. */
export type Placing = 'placed' | 'taken' | 'lost';

const LINK_REFUSED = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK', 'ENOSYS']);

/** Gives finished temporary files their final paths, never in the place of what is there already. */
export class FilePlacer {
  readonly #temps: TempFolder;
  readonly #hardLink: typeof link;
  #linkRefused = false;
  /** Renamings of this process under way, by object name: they need not be rivals. */
  readonly #renamings = new Map<string, Promise<unknown>>();

  /** `hardLink` is link(2), or what a file system without it does. */
  constructor(temps: TempFolder, hardLink: typeof link = link) {
    this.#temps = temps;
    this.#hardLink = hardLink;
  }

  /** `target` is the path of the object `name`. The temporary file may be left behind. */
  async place(temp: string, target: string, name: string): Promise<Placing> {
    if (this.#linkRefused) return this.#renameInTurn(temp, target, name);
    try {
      await this.#hardLink(temp, target);
      return 'placed';
    } catch (error) {
      const errno = errnoOf(error) ?? '';
      if (errno === 'EEXIST') return 'taken';
      if (!LINK_REFUSED.has(errno)) throw error;
      this.#linkRefused = true;
      return this.#renameInTurn(temp, target, name);
    }
  }

  async #renameInTurn(temp: string, target: string, name: string): Promise<Placing> {
    const earlier = this.#renamings.get(name);
    const mine = (async () => {
      await earlier?.catch(() => undefined);
      return this.#renameUnlessTaken(temp, target, name);
    })();
    this.#renamings.set(name, mine);
    try {
      return await mine;
    } finally {
      if (this.#renamings.get(name) === mine) this.#renamings.delete(name);
    }
  }

  /**
   * For file systems without hard links, where rename(2) would replace what is there. The temporary file is the claim:
   * each writer first removes its rivals' files, then looks, then renames its own. Of two writers, the one that looks
   * before the other has renamed has removed the other's file, so at most one rename succeeds; and a writer that dies
   * leaves no claim that would block the name.
   */
  async #renameUnlessTaken(temp: string, target: string, name: string): Promise<Placing> {
    await this.#temps.removeRivals(name, temp);
    if (await isThere(target)) return 'taken';
    try {
      await rename(temp, target);
      return 'placed';
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return 'lost';
      throw error;
    }
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (isAbsence(error)) return false;
    throw error;
  }
}
