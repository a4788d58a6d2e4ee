import {
  close,
  EAGAIN,
  flock,
  flockWait,
  LOCK_NB,
  O_CREAT,
  O_RDWR,
  open,
  PosixError,
} from '../../posix/index.ts';

/** One open lock file. The lock belongs to `fd`, and to every child that inherits it. */
export class Lock {
  readonly fd: number;
  readonly path: string;

  constructor(path: string) {
    this.path = path;
    this.fd = open(path, O_RDWR | O_CREAT, 0o600);
  }

  /** False when another holds it in a way that excludes `mode` (LOCK_SH or LOCK_EX). */
  tryTake(mode: number): boolean {
    const result = flock(this.fd, mode | LOCK_NB);
    if (result === -EAGAIN) return false;
    if (result < 0) throw new PosixError(result, 'flock', this.path);
    return true;
  }

  async take(mode: number): Promise<void> {
    if (this.tryTake(mode)) return;
    const result = await flockWait(this.fd, mode);
    if (result < 0) throw new PosixError(result, 'flock', this.path);
  }

  /** Gives the lock back unless a child inherited it. */
  close(): void {
    close(this.fd);
  }
}

/** Runs `work` while holding the lock. */
export async function holding<T>(path: string, mode: number, work: (lock: Lock) => Promise<T>): Promise<T> {
  const lock = new Lock(path);
  try {
    await lock.take(mode);
    return await work(lock);
  } finally {
    lock.close();
  }
}
