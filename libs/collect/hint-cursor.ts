import { type EntryRecord, readRecords } from '../model/records.ts';
import type { TreePath } from '../model/tree-path.ts';
import type { HintFile, Segment } from './hint-file.ts';

/** A record of an attempt, and the ids of all blocks of its task, where they were kept. */
export interface Hint {
  readonly record: EntryRecord;
  readonly taskIds: Buffer;
}

const order = (a: EntryRecord, dir: TreePath, name: Buffer): number =>
  Buffer.compare(a.dir, dir) || Buffer.compare(a.name, name);

/** Goes through what one attempt has read, in the order of the walk; one task's records are in memory at a time. */
export class HintCursor {
  readonly #file: HintFile;
  readonly #segments: readonly Segment[];
  #next = 0;
  #records: Iterator<EntryRecord> | undefined;
  #present: EntryRecord | undefined;
  #taskIds: Buffer = Buffer.alloc(0);

  /** `segments`: of its tasks, in any order. */
  constructor(file: HintFile, segments: readonly Segment[]) {
    this.#file = file;
    this.#segments = segments.toSorted((a, b) => a.task - b.task);
  }

  /** What was read of the entry. Entries have to be asked for in the order of the walk. */
  find(dir: TreePath, name: Buffer): Hint | undefined {
    for (;;) {
      this.#present ??= this.#advance();
      if (!this.#present) return undefined;
      const is = order(this.#present, dir, name);
      if (is === 0) return { record: this.#present, taskIds: this.#taskIds };
      if (is > 0) return undefined;
      this.#present = undefined;
    }
  }

  /** What can't be read is nobody's loss but the time to read it again. */
  #advance(): EntryRecord | undefined {
    try {
      return this.#following();
    } catch {
      this.#next = this.#segments.length;
      this.#records = undefined;
      return undefined;
    }
  }

  #following(): EntryRecord | undefined {
    for (;;) {
      const next = this.#records?.next();
      if (next && !next.done) return next.value;
      const segment = this.#segments[this.#next++];
      if (!segment) return undefined;
      const body = this.#file.read(segment);
      if (!body) continue;
      this.#taskIds = body.subarray(0, segment.idsLength);
      this.#records = readRecords(body.subarray(segment.idsLength));
    }
  }
}
