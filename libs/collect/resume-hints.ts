import { rmSync } from 'node:fs';
import { ByteReader } from '../model/byte-reader.ts';
import { ByteWriter } from '../model/byte-writer.ts';
import { blockIdsOf, decodeHints, decodeState, EntryType } from '../model/entry.ts';
import { S_IFREG, Stat } from '../posix/index.ts';
import type { WorkBatch, WorkItem } from '../scan/index.ts';
import { type Hint, HintCursor } from './hint-cursor.ts';
import { encodeSegment, HintFile, type Segment, SegmentKind } from './hint-file.ts';
import { type KnownEntries, type KnownEntry, NOTHING_RESUMED, type Resumed } from './known-entries.ts';
import type { TaskResult } from './protocol.ts';

/** Attempts that began earlier are not believed. */
const MAX_AGE_MS = 24 * 60 * 60 * 1000;
/** Newer ones than these are looked at: each has a task's records in memory. */
const MAX_ATTEMPTS = 32;
const MAX_FILE_BYTES = 1024 * 1024 * 1024;
/** Written together: so much of a file's content, or of records, a crash costs at most. */
const FLUSH_CONTENT_BYTES = 16 * 1024 * 1024;
const FLUSH_RECORD_BYTES = 256 * 1024;
/** A smaller file's state names all of its blocks itself (MAX_INLINE_ITEMS blocks of 256 KiB). */
const INLINE_BYTES = 16 * 1024 * 1024;
const IDENTITY_BYTES = 32;
const ID_BYTES = 32;

export const hintFileOf = (stateFile: string): string => `${stateFile}.hints`;

/** After the backup was committed there is nothing to resume. */
export const dropHints = (stateFile: string): void => rmSync(hintFileOf(stateFile), { force: true });

export interface ResumeHintsOptions {
  readonly path: string;
  /** 32 bytes that are equal where the same backup is tried again with the same keys. */
  readonly identity: Buffer;
  /** When this attempt began, ms since 1970. */
  readonly startedAt: number;
}

interface Candidate {
  readonly item: WorkItem;
  readonly known: KnownEntry;
  readonly ids: readonly Buffer[];
  readonly since: number;
}

/**
 * What a backup that died has read, so that the next attempt at it need not read that again: its records, by path,
 * believed where the file's identity (device, inode, size, times) is the same and the store has every block still
 * (docs/decisions/014-resume.md). The file is a cache and may be lost or damaged.
 */
export class ResumeHints implements KnownEntries {
  readonly #options: ResumeHintsOptions;
  #file: HintFile | undefined;
  readonly #cursors: { readonly cursor: HintCursor; readonly since: number }[];
  readonly #stat = new Stat();
  /** The attempt's own head is in the file. */
  #hasBegun = false;
  #isFull = false;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #content = 0;
  #resumed: Resumed = NOTHING_RESUMED;

  constructor(options: ResumeHintsOptions) {
    this.#options = options;
    const old = openOld(options);
    this.#file = old?.file;
    this.#cursors = old?.cursors ?? [];
  }

  get resumed(): Resumed {
    return this.#resumed;
  }

  /** `missing` is asked for every block. */
  async known(
    batch: WorkBatch,
    missing: (ids: Buffer) => Promise<Uint8Array>,
  ): Promise<ReadonlyMap<WorkItem, KnownEntry>> {
    const candidates = this.#cursors.length === 0 ? [] : this.#candidates(batch);
    const ids = candidates.flatMap((one) => one.ids);
    const lacks = ids.length === 0 ? new Uint8Array() : await missing(Buffer.concat(ids));
    const known = new Map<WorkItem, KnownEntry>();
    let at = 0;
    for (const candidate of candidates) {
      const count = candidate.ids.reduce((sum, { length }) => sum + length / ID_BYTES, 0);
      const isWhole = !lacks.subarray(at, at + count).includes(1);
      at += count;
      if (!isWhole) continue;
      known.set(candidate.item, candidate.known);
      this.#count(candidate);
    }
    return known;
  }

  #count({ item, known, since }: Candidate): void {
    const { files, bytes, since: before } = this.#resumed;
    const isFile = known.state[0] === EntryType.file ? 1 : 0;
    this.#resumed = { files: files + isFile, bytes: bytes + item.size, since: Math.min(before, since) };
  }

  #candidates(batch: WorkBatch): Candidate[] {
    const found: Candidate[] = [];
    for (const { dir, items } of batch.groups) {
      for (const item of items) {
        const candidate = this.#candidate(dir, item);
        if (candidate) found.push(candidate);
      }
    }
    return found;
  }

  /** Of the newest attempt that has read the file as it is now. */
  #candidate(dir: Buffer, item: WorkItem): Candidate | undefined {
    let found: Candidate | undefined;
    this.#stat.buffer.set(item.stat);
    for (const { cursor, since } of this.#cursors) {
      const hint = cursor.find(dir, item.name); // also where a newer one has it: each has to keep pace
      if (!hint || found || !isSame(this.#stat, hint)) continue;
      const ids = idsOf(hint, item);
      const { state, hints } = hint.record;
      if (ids) found = { item, known: { state, hints }, ids, since };
    }
    return found;
  }

  keep(result: Pick<TaskResult, 'id' | 'bodies' | 'bytesRead'>, ids: readonly Uint8Array[]): void {
    const kept = result.bytesRead >= INLINE_BYTES ? ids : [];
    const bodies = result.bodies.map(({ bytes }) => bytes);
    const segment = encodeSegment(SegmentKind.task, result.id, kept, bodies);
    this.#waiting.push(segment);
    this.#waitingBytes += segment.length;
    this.#content += result.bytesRead;
    if (this.#content >= FLUSH_CONTENT_BYTES || this.#waitingBytes >= FLUSH_RECORD_BYTES) this.#flush();
  }

  #flush(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#content = 0;
    if (waiting.length === 0 || this.#isFull) return;
    try {
      this.#append(waiting);
    } catch {
      this.#isFull = true; // no room, most likely: that costs reading again, and no backup
    }
  }

  #append(segments: readonly Buffer[]): void {
    this.#file ??= HintFile.open(this.#options.path, 'w+');
    if (this.#cursors.length === 0 && !this.#hasBegun) this.#file.clear();
    this.#file.append(this.#hasBegun ? segments : [this.#begin(), ...segments]);
    this.#hasBegun = true;
    this.#isFull = this.#file.length > MAX_FILE_BYTES;
  }

  #begin(): Buffer {
    const out = new ByteWriter(IDENTITY_BYTES + 8);
    out.bytes(this.#options.identity);
    out.i64(BigInt(this.#options.startedAt));
    return encodeSegment(SegmentKind.attempt, 0, [], [out.finish()]);
  }

  /**
   * The attempt is over. Sealed, hints that it used go: should it fail for their sake, the next one reads for itself.
   */
  close(isSealed: boolean): void {
    if (!isSealed) this.#flush();
    try {
      this.#file?.close();
      if (isSealed && Number.isFinite(this.#resumed.since)) rmSync(this.#options.path, { force: true });
    } catch {
      // what is left of it is of another base by then
    }
    this.#file = undefined;
  }
}

interface Old {
  readonly file: HintFile;
  readonly cursors: ReturnType<typeof cursorsOf>;
}

/** Undefined where there is no such file, and where it can't be read: a backup does without. */
function openOld(options: ResumeHintsOptions): Old | undefined {
  let file: HintFile | undefined;
  try {
    file = HintFile.open(options.path, 'r+');
    return { file, cursors: cursorsOf(file, options) };
  } catch {
    file?.close();
    return undefined;
  }
}

/** Of the attempts that may be believed, newest first. */
function cursorsOf(file: HintFile, { identity, startedAt }: ResumeHintsOptions) {
  const attempts: { readonly since: number; readonly tasks: Segment[] }[] = [];
  for (const segment of file.segments()) {
    if (segment.kind === SegmentKind.task) attempts.at(-1)?.tasks.push(segment);
    else attempts.push({ since: beginOf(file.read(segment), identity), tasks: [] });
  }
  return attempts
    .filter(({ since }) => since <= startedAt && since > startedAt - MAX_AGE_MS)
    .reverse()
    .slice(0, MAX_ATTEMPTS)
    .map(({ since, tasks }) => ({ since, cursor: new HintCursor(file, tasks) }));
}

/** When the attempt began; NaN where it is of another backup or damaged. */
function beginOf(body: Buffer | undefined, identity: Buffer): number {
  if (body?.length !== IDENTITY_BYTES + 8) return Number.NaN;
  const input = new ByteReader(body);
  return input.bytes(IDENTITY_BYTES).equals(identity) ? Number(input.i64()) : Number.NaN;
}

/** The file was not touched since: what an attempt could not trust has hints of zeros, which are no file's. */
function isSame(stat: Stat, { record: { state, hints } }: Hint): boolean {
  const then = decodeHints(hints);
  const isFile = stat.type === S_IFREG;
  return (
    then.ctimeSec === stat.ctimeSec &&
    then.ctimeNsec === stat.ctimeNsec &&
    then.ino === stat.ino &&
    then.dev === stat.dev &&
    then.nlink === stat.nlink &&
    (state[0] === EntryType.file) === isFile &&
    state.readBigInt64LE(STATE.mtimeSec) === stat.mtimeSec &&
    state.readUInt32LE(STATE.mtimeNsec) === stat.mtimeNsec &&
    (!isFile || state.readBigUInt64LE(STATE.size) === stat.size)
  );
}

/** Byte offsets in an encoded state (docs/2-formats-blocks.md). */
const STATE = { mtimeSec: 12, mtimeNsec: 20, size: 24 } as const;

/** Ids of all blocks that the entry's content needs; undefined where not all are known. */
function idsOf({ record, taskIds }: Hint, item: WorkItem): readonly Buffer[] | undefined {
  const state = decodeState(record.state);
  if (item.size < INLINE_BYTES || state.recipe?.depth === 0) return blockIdsOf(state);
  return taskIds.length > 0 ? [taskIds] : undefined;
}
