import { markAsUntransferable } from 'node:worker_threads';
import { EINVAL, ENAMETOOLONG } from './errno.ts';
import { addressOf } from './libc.ts';

/** Memory of a fixed address for the system to read or fill. Each thread has its own, since each loads its own modules. */
export class Scratch {
  readonly bytes: Buffer;
  readonly address: number;

  constructor(length: number) {
    const memory = new ArrayBuffer(length);
    markAsUntransferable(memory);
    this.bytes = Buffer.from(memory);
    this.address = addressOf(this.bytes);
  }
}

/** The longest path that the system takes, without its NUL. */
const PATH_BYTES = 4095;

/** Holds one NUL-terminated name for the duration of a call. */
class NameScratch extends Scratch {
  constructor() {
    super(PATH_BYTES + 2);
  }

  /** Address of the copied name; -EINVAL when it holds a NUL, -ENAMETOOLONG when it is over 4,095 bytes. */
  put(name: Buffer): number {
    const { bytes } = this;
    const { length } = name;
    if (length > PATH_BYTES) return -ENAMETOOLONG;
    for (let i = 0; i < length; i++) {
      const byte = name[i]!;
      if (byte === 0) return -EINVAL;
      bytes[i] = byte;
    }
    bytes[length] = 0;
    return this.address;
  }
}

/** A call with one name uses `first`; overwritten by the next call. */
export const first = new NameScratch();
export const second = new NameScratch();
