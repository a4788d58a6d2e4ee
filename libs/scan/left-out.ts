import { S_IFDIR, S_IFMT, S_IFREG, STATX_OFFSETS } from '../posix/index.ts';
import type { ScanTotals, WorkItem } from './steps.ts';

type Counted = Omit<ScanTotals, 'unchanged'>;

/** Entries that the walk counted and that turned out not to be in the backup: they vanished, or never could be read. */
export class LeftOut {
  readonly #counts: Counted = { files: 0, directories: 0, others: 0, bytes: 0 };

  add({ stat, size }: WorkItem): void {
    const type = stat.readUInt16LE(STATX_OFFSETS.mode) & S_IFMT;
    if (type === S_IFREG) {
      this.#counts.files++;
      this.#counts.bytes += size;
    } else if (type === S_IFDIR) this.#counts.directories++;
    else this.#counts.others++;
  }

  /** What the backup holds, of what the walk counted. */
  from({ files, directories, others, bytes }: Readonly<ScanTotals>): Counted {
    const out = this.#counts;
    return {
      files: files - out.files,
      directories: directories - out.directories,
      others: others - out.others,
      bytes: bytes - out.bytes,
    };
  }
}
