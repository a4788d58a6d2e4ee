import { decodeHead } from '../model/entry.ts';
import type { EntryRecord } from '../model/records.ts';
import type { Attribute } from './attributes.ts';
import { zeros } from './content.ts';
import type { FileLayout } from './file-layout.ts';
import type { NewEntries } from './new-entries.ts';
import { modeOf } from './state-fields.ts';
import { TargetFile, type TemporaryNames } from './target-file.ts';
import type { TaskReport } from './task-report.ts';
import type { BlockSink } from './wanted-blocks.ts';

/** What the files of one directory share. */
export interface FilePlace {
  readonly dirFd: number;
  readonly fresh: boolean;
  readonly made: NewEntries;
  readonly names: TemporaryNames;
  /** `failed` may throw, where going on with other files makes no sense. */
  readonly report: TaskReport;
}

export interface FilePlan {
  readonly op: 'added' | 'changed';
  readonly record: EntryRecord;
  readonly layout: FileLayout;
  readonly xattrs: readonly Attribute[];
}

/**
 * One file on its way: opened at its first block, finished with its last one. A task holds hundreds while it waits, so
 * this is little more than where the record lies; what it says is decoded when the file is written.
 */
export class FileJob implements BlockSink {
  readonly #place: FilePlace;
  readonly #plan: FilePlan;
  #left: number;
  #file: TargetFile | undefined;
  #ended = false;

  constructor(place: FilePlace, plan: FilePlan) {
    this.#place = place;
    this.#plan = plan;
    this.#left = plan.layout.blocks;
  }

  /** To be called once all blocks are asked for: without any it is done. */
  begin(): void {
    if (this.#left === 0 && !this.#ended) this.#attempt(() => this.#finish());
  }

  /** Leaves nothing of an unfinished file. */
  abort(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#file?.abort();
    this.#file = undefined;
  }

  deliver(block: number, bytes: Buffer): void {
    if (this.#ended) return;
    this.#attempt(() => {
      this.#file ??= this.#open();
      this.#plan.layout.write(this.#file, block, bytes);
      if (--this.#left === 0) this.#finish();
    });
  }

  fail(error: unknown): void {
    if (this.#ended) return;
    this.abort();
    const { record } = this.#plan;
    this.#place.report.failed(record, decodeHead(record.state), error);
  }

  #open(): TargetFile {
    const { dirFd, fresh, names, made } = this.#place;
    const { name, state } = this.#plan.record;
    return new TargetFile({ dirFd, name, mode: made.modeToMake(modeOf(state)) }, fresh, names);
  }

  #finish(): void {
    const { record, layout, op, xattrs } = this.#plan;
    const { made, report } = this.#place;
    const file = this.#file ?? this.#open();
    this.#file = file;
    for (const { offset, length } of layout.zeros) {
      let at = offset;
      for (const bytes of zeros(length)) {
        file.write(bytes, at);
        at += bytes.length;
      }
    }
    this.#file = undefined; // from here on it cleans up after itself
    const head = decodeHead(record.state);
    const result = file.finish(head.size, (handle) => made.set(handle, head, xattrs));
    this.#ended = true;
    report.done(op, record, head, result);
  }

  #attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.fail(error);
    }
  }
}
