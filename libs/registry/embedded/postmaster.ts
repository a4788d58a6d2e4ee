import { join } from 'node:path';
import { readText } from './files.ts';

/** What postmaster.pid says; the process may be gone. Lines: https://www.postgresql.org/docs/18/storage-file-layout.html */
export interface PostmasterFile {
  readonly pid: number;
  /** '' until the server has got so far as to tell. */
  readonly status: string;
}

const PID_LINE = 0;
const STATUS_LINE = 7;

export function readPostmasterFile(data: string): PostmasterFile | undefined {
  const lines = readText(join(data, 'postmaster.pid'))?.split('\n');
  const pid = Number(lines?.[PID_LINE]);
  return pid > 0 ? { pid, status: lines?.[STATUS_LINE]?.trim() ?? '' } : undefined;
}

/**
 * Signals the server that postmaster.pid names. False when there is none, or when its pid has passed to a
 * program that isn't Postgres.
 */
export function signalPostmaster(data: string, signal: NodeJS.Signals): boolean {
  const pid = readPostmasterFile(data)?.pid;
  if (pid === undefined || readText(`/proc/${pid}/comm`) !== 'postgres') return false;
  try {
    return process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}
