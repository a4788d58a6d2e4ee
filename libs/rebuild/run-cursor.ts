import { openFrame, parseFrameHeader } from '../blocks/frame.ts';
import type { KeyRing } from '../blocks/keys.ts';
import { packName } from '../blocks/pack.ts';
import { TmError } from '../model/errors.ts';
import { type EntryRecord, RecordOp, readRecords } from '../model/records.ts';
import { compareEntries } from '../model/tree-path.ts';
import type { RunPart, RunRef } from '../registry/port.ts';
import { readJournalObject } from '../store/journal.ts';
import type { Store } from '../store/port.ts';

/** What reading runs takes: the store and the keys of one domain. */
export interface RunSource {
  readonly store: Store;
  readonly ring: KeyRing;
  readonly domainId: string;
}

/** A frame of one of the domain's data keys. */
export async function openSealedFrame({ ring, domainId }: RunSource, bytes: Buffer): Promise<Buffer> {
  return openFrame(bytes, domainId, await ring.get(parseFrameHeader(bytes).keyId));
}

/**
 * Goes through the records of one run in order, a frame in memory at a time. A run holds entries in the order of
 * (dir, name), then problems (kept records) in that order; anything else is TM1605.
 */
export class RunCursor {
  readonly run: RunRef;
  readonly #source: RunSource;
  #records: EntryRecord[] = [];
  #at = 0;
  #part = 0;
  #count = 0;
  #ended = false;
  #last: EntryRecord | undefined;

  constructor(source: RunSource, run: RunRef) {
    this.#source = source;
    this.run = run;
  }

  /** The record at the cursor; undefined where the next frame has to be loaded, or at the end. */
  get record(): EntryRecord | undefined {
    return this.#records[this.#at];
  }

  /** All records were passed. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Makes `record` the next one. False at the run's end. */
  async load(): Promise<boolean> {
    while (this.#at >= this.#records.length) {
      const part = this.run.parts[this.#part++];
      if (!part) {
        if (this.#count !== this.run.records)
          throw new TmError('TM1605', `a run of ${this.#count} records instead of ${this.run.records}`);
        this.#ended = true;
        return false;
      }
      this.#records = [...readRecords(await openPart(this.#source, part))];
      this.#at = 0;
      this.#count += this.#records.length;
      for (const record of this.#records) this.#checkOrder(record);
    }
    return true;
  }

  next(): void {
    this.#at++;
  }

  #checkOrder(record: EntryRecord): void {
    const last = this.#last;
    this.#last = record;
    if (!last) return;
    const [before, now] = [last.op === RecordOp.kept, record.op === RecordOp.kept];
    if (!before && now) return;
    if (before !== now || compareEntries(last.dir, last.name, record.dir, record.name) >= 0)
      throw new TmError('TM1605', 'the records of a run are out of order');
  }
}

/** Plaintext of a run's part. Errors name the object. */
export async function openPart(source: RunSource, part: RunPart): Promise<Buffer> {
  const [object, bytes] = await readPart(source, part);
  try {
    return await openSealedFrame(source, bytes);
  } catch (error) {
    if (!(error instanceof TmError)) throw error;
    throw new TmError(error.code, `a run in ${object}`, { cause: error });
  }
}

async function readPart({ store }: RunSource, part: RunPart): Promise<[object: string, bytes: Buffer]> {
  if (part.in === 'pack') {
    const name = packName(Buffer.from(part.pack, 'hex'));
    return [name, await store.read(name, { offset: part.frameOffset, length: part.frameLength })];
  }
  const object = await readJournalObject(store, part.writer, part.number);
  const section = object.sections[part.section];
  if (!section) throw new TmError('TM1212', `${object.name} has no section ${part.section}`);
  return [object.name, section];
}
