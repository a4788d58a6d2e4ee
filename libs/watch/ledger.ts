import { closeSync, fsyncSync, ftruncateSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { Coverage, type Gap, type Span } from './coverage.ts';
import { decodeRecords, encodeRecord, type GapReason, type LedgerRecord } from './ledger-format.ts';
import { endFromOutside, withGapOfDamage } from './repair-ledger.ts';

/** Signs of life that have later ones are left out when the file is read at this size. */
const COMPACT_BYTES = 256 * 1024;

/**
 * The record of one source's watch: when it ran, and every gap, from the moment on at which events may have been lost to
 * the reconcile that closes it. What it says is on the disk before the call returns, so that SIGKILL and power failure
 * lose no gap. A disk that takes nothing, full most likely, gets it later, in order: whoever opens the ledger before that finds
 * a watch that was ended from outside, and a gap since the last sign of life that is there. One process at a time; its owner sees to that. Times: milliseconds since 1970.
 */
export class GapLedger {
  readonly #fd: number;
  readonly #coverage: Coverage;
  /** What the disk has not taken yet. */
  #unwritten = Buffer.alloc(0);

  private constructor(fd: number, coverage: Coverage) {
    this.#fd = fd;
    this.#coverage = coverage;
  }

  /**
   * A watch that ran and never stopped was ended from outside: a gap is open from its last sign of life. Where lines are
   * damaged nobody knows which gaps they told of: another one is open from the first record on.
   */
  static open(path: string, now: number): GapLedger {
    let fd = openSync(path, 'a+', 0o600);
    try {
      const bytes = readFileSync(fd);
      const { records, tornAt, isDamaged } = decodeRecords(bytes);
      if (tornAt !== undefined) ftruncateSync(fd, tornAt);
      if (bytes.length === 0) syncDirectory(dirname(path));
      const kept = isDamaged ? withGapOfDamage(records, now) : records;
      if (isDamaged || bytes.length > COMPACT_BYTES) fd = rewrite(path, fd, withoutOldSigns(kept));
      const ledger = new GapLedger(fd, new Coverage(kept));
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

  /** A sign of life; not worth waiting for the disk, since without it a gap begins earlier. */
  alive(at: number): void {
    this.#append({ type: 'alive', at }, false);
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

function withoutOldSigns(records: readonly LedgerRecord[]): LedgerRecord[] {
  const last = records.findLast(({ type }) => type === 'alive');
  return records.filter((record) => record.type !== 'alive' || record === last);
}

/** In the place of the old file, by rename; the old one is closed when all is done. */
function rewrite(path: string, old: number, records: readonly LedgerRecord[]): number {
  const temporary = `${path}.new`;
  const fd = openSync(temporary, 'w', 0o600);
  write(fd, records.map(encodeRecord).join(''));
  fsyncSync(fd);
  closeSync(fd);
  renameSync(temporary, path);
  syncDirectory(dirname(path));
  const fresh = openSync(path, 'a');
  closeSync(old);
  return fresh;
}

function syncDirectory(path: string): void {
  const fd = openSync(path, 'r');
  fsyncSync(fd);
  closeSync(fd);
}
