import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type EntryRecord, RecordWriter, readRecords } from '../model/records.ts';

/** Records in a temporary file, so that a plan of any size takes no memory; read forwards or backwards by batches. */
export class Spool {
  readonly #path: string;
  readonly #fd: number;
  readonly #writer = new RecordWriter();
  readonly #batch: number;
  #end = 0;

  constructor(folder: string, batch = 512) {
    this.#path = join(folder, `plan-${process.pid}-${randomBytes(6).toString('hex')}`);
    this.#fd = openSync(this.#path, 'wx+', 0o600);
    rmSync(this.#path); // it lives as long as the descriptor
    this.#batch = batch;
  }

  add(record: EntryRecord): void {
    this.#writer.record(record);
    if (this.#writer.count >= this.#batch || this.#writer.bytes >= 1024 * 1024) this.flush();
  }

  /** Each batch is its body with its length before and after it. */
  flush(): void {
    if (this.#writer.count === 0) return;
    const body = this.#writer.finish();
    const length = Buffer.alloc(4);
    length.writeUInt32LE(body.length);
    for (const bytes of [length, body, length]) {
      let at = 0;
      while (at < bytes.length) at += writeSync(this.#fd, bytes, at, bytes.length - at, this.#end + at);
      this.#end += bytes.length;
    }
  }

  #read(at: number, length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length);
    let done = 0;
    while (done < length) {
      const count = readSync(this.#fd, bytes, done, length - done, at + done);
      if (count === 0) throw new Error('the plan was cut short');
      done += count;
    }
    return bytes;
  }

  *forwards(): Generator<EntryRecord[]> {
    for (let at = 0; at < this.#end; ) {
      const length = this.#read(at, 4).readUInt32LE(0);
      yield [...readRecords(this.#read(at + 4, length))];
      at += length + 8;
    }
  }

  *backwards(): Generator<EntryRecord[]> {
    for (let at = this.#end; at > 0; ) {
      const length = this.#read(at - 4, 4).readUInt32LE(0);
      yield [...readRecords(this.#read(at - 4 - length, length))].reverse();
      at -= length + 8;
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}
