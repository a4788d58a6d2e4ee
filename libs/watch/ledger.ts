import {
  closeSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { Coverage, type Gap, type Span } from './coverage.ts';
import { decodeRecords, encodeRecord, type GapReason, type LedgerRecord } from './ledger-format.ts';
import { endFromOutside, withGapOfDamage } from './repair-ledger.ts';

/** At this size, and at twice that of the last time, the file is written anew: without what says nothing any more. */
const COMPACT_BYTES = 256 * 1024;

/**
 * The record of one source's watch: when it ran, and every gap, from the moment on at which events may have been lost to
 * the reconcile that closes it. What it says is on the disk before the call returns, so that SIGKILL and power failure
 * lose no gap. A disk that takes nothing, full most likely, gets it later, in order: whoever opens the ledger before that finds
 * a watch that was ended from outside, and a gap since the last sign of life that is there. One process at a time; its owner sees to that. Times: milliseconds since 1970.
 */
export class GapLedger {
  readonly #path: string;
  #fd: number;
  readonly #coverage: Coverage;
  /** What the disk has not taken yet. */
  #unwritten = Buffer.alloc(0);
  #rewriteAt: number;

  private constructor(path: string, fd: number, coverage: Coverage) {
    this.#path = path;
    this.#fd = fd;
    this.#coverage = coverage;
    this.#rewriteAt = rewriteAt(fd);
  }

  /**
   * A watch that ran and never stopped was ended from outside: a gap is open from its last sign of life. Where lines are
   * damaged nobody knows which gaps they told of: another one is open from the first record on. What ended long ago is
   * forgotten (Coverage.forget).
   */
  static open(path: string, now: number): GapLedger {
    let fd = openSync(path, 'a+', 0o600);
    try {
      const bytes = readFileSync(fd);
      const { records, tornAt, isDamaged } = decodeRecords(bytes);
      if (tornAt !== undefined) ftruncateSync(fd, tornAt);
      if (bytes.length === 0) syncDirectory(dirname(path));
      const kept = isDamaged ? withGapOfDamage(records, now) : records;
      const coverage = new Coverage(kept);
      const isShorter = coverage.forget(now) || bytes.length > COMPACT_BYTES;
      if (isDamaged || isShorter) {
        try {
          fd = rewrite(path, fd, coverage.records());
          syncDirectory(dirname(path));
        } catch (error) {
          if (isDamaged) throw error; // else the old file goes on
        }
      }
      const ledger = new GapLedger(path, fd, coverage);
      for (const record of endFromOutside(ledger.#coverage, now)) ledger.#append(record);
      return ledger;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  /** All that are remembered, closed ones too, by number. */
  get gaps(): Gap[] {
    return this.#coverage.gaps;
  }

  /** The watch that runs, and its last sign of life; undefined while none does. */
  get run(): { readonly from: number; readonly lastSign: number } | undefined {
    return this.#coverage.run;
  }

  get openGaps(): Gap[] {
    return this.#coverage.openGaps;
  }

  /** Watching begins: all watches are set. */
  started(at: number): void {
    this.#append({ type: 'started', at });
  }

  /**
   * A sign of life; not worth waiting for the disk, since without it a gap begins earlier. Old ones go, and what ended
   * long ago, when the file has grown.
   */
  alive(at: number): void {
    this.#append({ type: 'alive', at }, false);
    if (fstatSync(this.#fd).size > this.#rewriteAt) this.#rewrite(at);
  }

  /** In order: nobody watches from here on, and a gap is open until the next reconcile. */
  stopped(at: number): void {
    this.#append({ type: 'stopped', at });
    this.openGap('agent-down', at);
  }

  /** `at`: when events may have been lost first. Each loss is a gap of its own, which the next reconcile closes. */
  openGap(reason: GapReason, at: number): number {
    const gap = this.#coverage.nextGap;
    this.#append({ type: 'opened', at, gap, reason });
    return gap;
  }

  /**
   * A reconcile that began at `from` is committed at `at`. `gaps`: those that were open when it began; one that was
   * opened meanwhile needs the next one. `by`: label of the backup that was made; none where nothing differed.
   */
  reconciled(gaps: readonly number[], from: number, at: number, by?: string): void {
    for (const gap of gaps) this.#append({ type: 'closed', at, gap, from, ...(by !== undefined && { by }) });
  }

  spans(from: number, to: number, now: number): Span[] {
    return this.#coverage.spans(from, to, now);
  }

  close(): void {
    closeSync(this.#fd);
  }

  #rewrite(now: number): void {
    this.#coverage.forget(now);
    try {
      this.#fd = rewrite(this.#path, this.#fd, this.#coverage.records());
      this.#unwritten = Buffer.alloc(0);
      syncDirectory(dirname(this.#path));
    } catch {
      // the old file goes on
    }
    this.#rewriteAt = rewriteAt(this.#fd);
  }

  #append(record: LedgerRecord, isDurable = true): void {
    this.#coverage.add(record);
    this.#unwritten = Buffer.concat([this.#unwritten, Buffer.from(encodeRecord(record))]);
    try {
      while (this.#unwritten.length > 0)
        this.#unwritten = this.#unwritten.subarray(writeSync(this.#fd, this.#unwritten));
      if (isDurable) fsyncSync(this.#fd);
    } catch {
      // the next record takes it along
    }
  }
}

function write(fd: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
}

const rewriteAt = (fd: number): number => Math.max(COMPACT_BYTES, 2 * fstatSync(fd).size);

/** In the place of the old file, by rename, whose descriptor is closed then. Where it fails before that, the old one is as it was. Not durable before the directory is synced. */
function rewrite(path: string, old: number, records: readonly LedgerRecord[]): number {
  const temporary = `${path}.new`;
  rmSync(temporary, { force: true });
  const fd = openSync(temporary, 'a', 0o600);
  try {
    write(fd, records.map(encodeRecord).join(''));
    fsyncSync(fd);
    renameSync(temporary, path);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  closeSync(old);
  return fd;
}

function syncDirectory(path: string): void {
  const fd = openSync(path, 'r');
  fsyncSync(fd);
  closeSync(fd);
}
