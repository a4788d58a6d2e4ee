import { randomBytes } from 'node:crypto';
import { holesOf, recipeItems } from '../blocks/recipe-reader.ts';
import { isZero } from '../blocks/zero.ts';
import { decodeHints, type EntryState, EntryType } from '../model/entry.ts';
import { TmError } from '../model/errors.ts';
import * as posix from '../posix/index.ts';
import { applyAttributes } from './attributes.ts';
import type { BlockReader } from './block-reader.ts';
import { pieces } from './content.ts';
import { checkName } from './target-tree.ts';

const TYPES: Readonly<Record<EntryType, number>> = {
  [EntryType.file]: posix.S_IFREG,
  [EntryType.directory]: posix.S_IFDIR,
  [EntryType.symlink]: posix.S_IFLNK,
  [EntryType.fifo]: posix.S_IFIFO,
  [EntryType.charDevice]: posix.S_IFCHR,
  [EntryType.blockDevice]: posix.S_IFBLK,
};

export type Written = 'created' | 'content' | 'metadata' | 'equal';

/** Writes one entry that is no directory into an open directory of the target. */
export class EntryWriter {
  readonly #reader: BlockReader;
  readonly #stat = new posix.Stat();
  ownersSkipped = 0;

  constructor(reader: BlockReader) {
    this.#reader = reader;
  }

  /** What is there: its type as one of S_IF*, or undefined. The stat is in `stat`. */
  look(dirFd: number, name: Buffer): number | undefined {
    const result = posix.statx(dirFd, name, this.#stat);
    if (result === -posix.ENOENT) return undefined;
    posix.check(result, 'statx', name);
    return this.#stat.type;
  }

  get stat(): posix.Stat {
    return this.#stat;
  }

  /** What writing would do; reads the local file where only its content tells. Nothing is changed. */
  async plan(dirFd: number, name: Buffer, state: EntryState, hints: Buffer): Promise<Written> {
    checkName(name);
    const there = this.look(dirFd, name);
    if (there === undefined) return 'created';
    if (there !== TYPES[state.type]) return 'content';
    if (state.type === EntryType.file) {
      if (this.#sameByHints(state, hints)) return 'equal';
      return this.#stat.sizeNumber === state.size && (await this.#sameContent(dirFd, name, state))
        ? 'metadata'
        : 'content';
    }
    if (state.type === EntryType.symlink) {
      const target = posix.readlinkat(dirFd, name);
      return typeof target !== 'number' && target.equals(state.target) ? 'metadata' : 'content';
    }
    const device = state.rdevMajor === this.#stat.rdevMajor && state.rdevMinor === this.#stat.rdevMinor;
    return state.type === EntryType.fifo || device ? 'metadata' : 'content';
  }

  async write(dirFd: number, name: Buffer, state: EntryState, planned: Written): Promise<void> {
    if (planned === 'equal') return;
    if (planned === 'metadata') return this.#attributes(dirFd, name, state);
    const temporary = Buffer.from(`.tidemark-${randomBytes(8).toString('hex')}`);
    try {
      if (state.type === EntryType.file) await this.#file(dirFd, temporary, state);
      else await this.#special(dirFd, temporary, state);
      posix.check(posix.renameat(dirFd, temporary, dirFd, name), 'renameat', name);
    } catch (error) {
      posix.unlinkat(dirFd, temporary);
      throw error;
    }
  }

  /** Makes `name` another name of the file `of`, which was restored before. */
  link(ofFd: number, of: Buffer, dirFd: number, name: Buffer): void {
    checkName(name);
    const temporary = Buffer.from(`.tidemark-${randomBytes(8).toString('hex')}`);
    posix.check(posix.linkat(ofFd, of, dirFd, temporary), 'linkat', name);
    const result = posix.renameat(dirFd, temporary, dirFd, name);
    posix.unlinkat(dirFd, temporary); // left over where both were names of one file already
    posix.check(result, 'renameat', name);
  }

  /** ctime cannot be set: an entry whose hints match has not changed since the backup read it. */
  #sameByHints(state: EntryState, hints: Buffer): boolean {
    const { ctimeSec, ctimeNsec, ino } = decodeHints(hints);
    const s = this.#stat;
    return (
      ctimeSec !== 0n &&
      s.ctimeSec === ctimeSec &&
      s.ctimeNsec === ctimeNsec &&
      s.ino === ino &&
      s.sizeNumber === state.size &&
      s.mtimeSec === state.mtimeSec &&
      s.mtimeNsec === state.mtimeNsec
    );
  }

  async #sameContent(dirFd: number, name: Buffer, state: EntryState): Promise<boolean> {
    const fd = posix.openat(dirFd, name, posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK);
    if (fd < 0 || !state.recipe) return false;
    try {
      let at = 0;
      const holes = await holesOf(state.recipe, this.#reader.read);
      let next = 0;
      for await (const item of recipeItems(state.recipe, this.#reader.read)) {
        const bytes = Buffer.allocUnsafe(item.length);
        for (let done = 0; done < item.length; ) {
          for (let hole = holes[next]; hole && hole.offset <= at; hole = holes[++next])
            at = hole.offset + hole.length;
          const count = Math.min(item.length - done, (holes[next]?.offset ?? Number.POSITIVE_INFINITY) - at);
          if (posix.pread(fd, bytes, done, count, at) !== count) return false;
          at += count;
          done += count;
        }
        if (item.kind === 'zeros' ? !isZero(bytes) : !this.#reader.idOf(bytes).equals(item.id)) return false;
      }
      return isHollow(fd, holes);
    } finally {
      posix.close(fd);
    }
  }

  async #file(dirFd: number, temporary: Buffer, state: EntryState): Promise<void> {
    const fd = posix.check(
      posix.openat(dirFd, temporary, posix.O_RDWR | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW, 0o600),
      'openat',
    );
    try {
      let end = 0;
      for await (const { offset, bytes } of pieces(state, this.#reader)) {
        posix.check(posix.pwriteFully(fd, bytes, 0, bytes.length, offset), 'pwrite');
        end = offset + bytes.length;
      }
      if (end !== state.size) posix.check(posix.ftruncate(fd, state.size), 'ftruncate');
      if (!(await applyAttributes(dirFd, temporary, fd, state, this.#reader))) this.ownersSkipped++;
    } finally {
      posix.close(fd);
    }
  }

  async #special(dirFd: number, temporary: Buffer, state: EntryState): Promise<void> {
    if (state.type === EntryType.symlink)
      posix.check(posix.symlinkat(state.target, dirFd, temporary), 'symlinkat');
    else
      posix.check(
        posix.mknodat(dirFd, temporary, TYPES[state.type] | 0o600, state.rdevMajor, state.rdevMinor),
        'mknodat',
      );
    if (!(await applyAttributes(dirFd, temporary, undefined, state, this.#reader))) this.ownersSkipped++;
  }

  async #attributes(dirFd: number, name: Buffer, state: EntryState): Promise<void> {
    if (state.type !== EntryType.file) {
      if (!(await applyAttributes(dirFd, name, undefined, state, this.#reader))) this.ownersSkipped++;
      return;
    }
    const fd = posix.check(
      posix.openat(dirFd, name, posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK),
      'openat',
      name,
    );
    try {
      posix.check(posix.fstat(fd, this.#stat), 'fstat');
      if (this.#stat.type !== posix.S_IFREG) throw new TmError('TM1602', 'it was replaced meanwhile');
      if (!(await applyAttributes(dirFd, name, fd, state, this.#reader))) this.ownersSkipped++;
    } finally {
      posix.close(fd);
    }
  }
}

/** Whether the stretches hold no data that differs from zeros. */
function isHollow(fd: number, holes: readonly { offset: number; length: number }[]): boolean {
  const bytes = Buffer.allocUnsafe(1024 * 1024);
  for (const { offset, length } of holes) {
    for (let done = 0; done < length; ) {
      const data = posix.lseek(fd, offset + done, posix.SEEK_DATA);
      if (data < 0 || data >= offset + length) break;
      done = data - offset;
      const count = posix.pread(fd, bytes, 0, Math.min(bytes.length, length - done), data);
      if (count <= 0 || !isZero(bytes.subarray(0, count))) return false;
      done += count;
    }
  }
  return true;
}
