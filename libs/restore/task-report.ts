import { type EntryHead, EntryType } from '../model/entry.ts';
import type { EntryRecord } from '../model/records.ts';
import type { AttributeResult } from './attributes.ts';
import { problemOf } from './problems.ts';
import { type ChangeOp, LinkOutcome, noCounts, type TaskResult } from './protocol.ts';

type Place = Pick<EntryRecord, 'dir' | 'name'>;

/** Collects what became of the entries of one task. */
export class TaskReport {
  readonly #tellChanges: boolean;
  readonly result: TaskResult = { counts: noCounts(), problems: [], changes: [], links: [], equal: true };

  constructor(tellChanges: boolean) {
    this.#tellChanges = tellChanges;
  }

  done(
    op: 'added' | 'changed' | 'metadata' | 'equal',
    record: Place,
    state: EntryHead,
    attributes?: AttributeResult,
  ): void {
    const { counts } = this.result;
    if (state.type === EntryType.file) {
      counts.files++;
      counts.bytes += state.size;
    } else counts.others++;
    if (attributes) this.attributes(record, attributes);
    const outcome = op === 'added' || op === 'changed' ? LinkOutcome.written : LinkOutcome.kept;
    this.#link(state, outcome);
    if (op === 'equal') counts.unchanged++;
    else this.changed(op, record);
  }

  directory(op: 'added' | 'changed' | 'metadata' | 'equal', record: Place): void {
    this.result.counts.directories++;
    if (op === 'equal') this.result.counts.unchanged++;
    else this.changed(op, record);
  }

  /** What could not be set of an entry that is restored otherwise. */
  attributes(record: Place, { ownerKept, problems }: AttributeResult): void {
    if (ownerKept) this.result.counts.ownersSkipped++;
    for (const problem of problems)
      this.#problem(record, `it was restored, but not all of its attributes: ${problem}`);
  }

  changed(op: ChangeOp, { dir, name }: Place): void {
    this.result.counts[op]++;
    if (this.#tellChanges) this.result.changes.push({ op, dir: Buffer.from(dir), name: Buffer.from(name) });
  }

  removed(dir: Buffer, name: Buffer): void {
    this.changed('deleted', { dir, name });
  }

  /** Throws what ends the whole restore. */
  failed(record: Place, state: EntryHead | undefined, error: unknown): void {
    const { dir, name } = record;
    this.result.problems.push(problemOf({ dir: Buffer.from(dir), name: Buffer.from(name) }, error));
    if (state) this.#link(state, LinkOutcome.failed);
  }

  #problem({ dir, name }: Place, message: string): void {
    this.result.problems.push({ code: 'TM1602', dir: Buffer.from(dir), name: Buffer.from(name), message });
  }

  #link({ linkGroup }: EntryHead, outcome: LinkOutcome): void {
    if (linkGroup !== 0n) this.result.links.push({ group: linkGroup, outcome });
  }
}
