import { stat } from 'node:fs/promises';
import { TmError } from '../../model/errors.ts';

/**
 * Knows whether a store's root is still the folder that was opened. A file system that was unmounted leaves an empty
 * folder behind: nothing may be written there, and nothing counts as missing because it isn't there.
 */
export class RootGuard {
  readonly path: string;
  readonly #device: bigint;
  readonly #inode: bigint;

  private constructor(path: string, device: bigint, inode: bigint) {
    this.path = path;
    this.#device = device;
    this.#inode = inode;
  }

  /** Throws TM1002 where the path is no folder, and the system's error where it is not there. */
  static async at(path: string): Promise<RootGuard> {
    const info = await stat(path, { bigint: true });
    if (!info.isDirectory()) throw new TmError('TM1002', `the store ${path} is no folder`);
    return new RootGuard(path, info.dev, info.ino);
  }

  /** Throws TM1201 when the folder is gone, or another one is in its place. */
  async check(): Promise<void> {
    const info = await stat(this.path, { bigint: true }).catch((cause: unknown) => {
      throw new TmError('TM1201', `${this.path} is gone`, { cause });
    });
    if (info.dev === this.#device && info.ino === this.#inode) return;
    throw new TmError('TM1201', `${this.path} is another folder than before; was it unmounted?`);
  }
}
