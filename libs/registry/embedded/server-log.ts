import { closeSync, fstatSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { TmError } from '../../model/errors.ts';
import type { Layout } from './layout.ts';

const LONGEST_LOG = 10 * 1024 * 1024;
const TELLING = /\b(FATAL|PANIC|ERROR|error|could not)\b/;
const LINE_PREFIX = /^[\d-]+ [\d:.]+ UTC \[\d+\] /;

/** postgres.log of a home, opened for one attempt to start; emptied first when it has grown long. */
export class ServerLog {
  readonly fd: number;
  readonly path: string;
  readonly #start: number;

  constructor(layout: Layout) {
    this.path = layout.log;
    this.fd = openSync(layout.log, 'a', 0o600);
    if (fstatSync(this.fd).size > LONGEST_LOG) ftruncateSync(this.fd);
    this.#start = fstatSync(this.fd).size;
  }

  /** On a full disk the text is dropped: the error that it explains still carries its main line. */
  append(text: string): void {
    try {
      writeSync(this.fd, text);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
  }

  sinceOpened(): string {
    return readFileSync(this.path).subarray(this.#start).toString();
  }

  /** `said` is what a program of Postgres wrote; cut down to the line that tells why it gave up. */
  failure(what: string, said: string, cause?: unknown): TmError {
    const lines = said.trim().split('\n');
    const line = (lines.findLast((text) => TELLING.test(text)) ?? lines.at(-1)!).replace(LINE_PREFIX, '');
    const reason = line || (cause instanceof Error ? cause.message : '');
    return new TmError('TM1302', `${what}${reason && `: ${reason}`} (log: ${this.path})`, { cause });
  }

  close(): void {
    closeSync(this.fd);
  }
}
