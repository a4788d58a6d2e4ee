import { type RecordView, RecordWriter } from '../model/records.ts';
import type { DirectoryHandle } from './directory-handle.ts';
import type { EntriesTask, EntryGroup } from './protocol.ts';
import type { Level } from './target-walk.ts';

/** A task ends at one of these. Each group holds a descriptor open. */
const TASK_ENTRIES = 512;
const TASK_BYTES = 16 * 1024 * 1024;
const TASK_GROUPS = 64;

export interface BuiltTask {
  readonly task: EntriesTask;
  /** In use by the task; to be released after it. */
  readonly handles: readonly DirectoryHandle[];
}

/** Puts entries, as the plan has them, into tasks of neighbouring directories. */
export class TaskBuilder {
  readonly #records = new RecordWriter();
  #groups: EntryGroup[] = [];
  #handles: DirectoryHandle[] = [];
  #level: Level | undefined;
  #entries = 0;
  #bytes = 0;

  /** `fileBytes`: of a file its size, else 0. */
  add(level: Level, record: RecordView, fileBytes: number): void {
    if (this.#level !== level) {
      this.#closeGroup();
      this.#level = level;
      if (level.handle) this.#handles.push(level.handle.use());
    }
    this.#records.copyView(record);
    this.#entries++;
    this.#bytes += fileBytes;
  }

  get full(): boolean {
    return this.#entries >= TASK_ENTRIES || this.#bytes >= TASK_BYTES || this.#groups.length >= TASK_GROUPS;
  }

  /** Undefined where nothing was added. */
  take(): BuiltTask | undefined {
    this.#closeGroup();
    if (this.#groups.length === 0) return undefined;
    const built = { task: { kind: 'entries' as const, groups: this.#groups }, handles: this.#handles };
    this.#groups = [];
    this.#handles = [];
    this.#entries = 0;
    this.#bytes = 0;
    return built;
  }

  /** Lets go of what was not taken. */
  abandon(): void {
    for (const handle of this.#handles.splice(0)) handle.release();
    this.#level = undefined;
  }

  #closeGroup(): void {
    const level = this.#level;
    this.#level = undefined;
    if (!level || this.#records.count === 0) return;
    this.#groups.push({ dirFd: level.handle?.fd ?? -1, fresh: level.fresh, body: this.#records.finish() });
  }
}
