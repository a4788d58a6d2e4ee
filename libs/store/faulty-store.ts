import { TmError } from '../model/errors.ts';
import type { CollectableStore, ObjectInfo } from './port.ts';

export type StoreCall = 'create' | 'read' | 'stat' | 'list' | 'delete';

/**
 * What happens to a call: it fails without an effect, it fails after having its effect, its reading comes back
 * changed (a copy is passed), or it waits before it begins.
 */
export type Fault =
  | { readonly kind: 'fail'; readonly error: Error }
  | { readonly kind: 'lose-reply'; readonly error: Error }
  | { readonly kind: 'change-bytes'; readonly change: (bytes: Buffer) => Buffer }
  | { readonly kind: 'wait'; readonly until: () => Promise<void> };

/** Which calls a fault hits: those whose name (or prefix, for list) begins with `prefix`, from the nth, `times` often. */
export interface FaultAim {
  /** From 1, counted from when the fault is set up. Default 1. */
  readonly nth?: number;
  /** Default 1. */
  readonly times?: number;
  readonly prefix?: string;
}

interface ArmedFault {
  readonly call: StoreCall;
  readonly prefix: string;
  readonly first: number;
  readonly last: number;
  readonly fault: Fault;
  seen: number;
}

/** A store whose calls fail as a test has said before. */
export class FaultyStore implements CollectableStore {
  readonly #inner: CollectableStore;
  readonly #faults: ArmedFault[] = [];
  readonly #calls: Record<StoreCall, number> = { create: 0, read: 0, stat: 0, list: 0, delete: 0 };

  constructor(inner: CollectableStore) {
    this.#inner = inner;
  }

  get url(): string {
    return this.#inner.url;
  }

  /** How often it was called so far. */
  calls(call: StoreCall): number {
    return this.#calls[call];
  }

  inject(call: StoreCall, fault: Fault, { nth = 1, times = 1, prefix = '' }: FaultAim = {}): this {
    this.#faults.push({ call, prefix, first: nth, last: nth + times - 1, fault, seen: 0 });
    return this;
  }

  create(name: string, parts: readonly Uint8Array[]): Promise<'created' | 'existed'> {
    return this.#run('create', name, () => this.#inner.create(name, parts));
  }

  read(name: string, range?: { offset: number; length: number }): Promise<Buffer> {
    return this.#run('read', name, () => this.#inner.read(name, range));
  }

  stat(name: string): Promise<ObjectInfo | undefined> {
    return this.#run('stat', name, () => this.#inner.stat(name));
  }

  delete(name: string): Promise<void> {
    return this.#run('delete', name, () => this.#inner.delete(name));
  }

  /** 'lose-reply' fails after the last one. */
  async *list(prefix: string, after?: string): AsyncGenerator<ObjectInfo> {
    const fault = this.#next('list', prefix);
    await before(fault);
    yield* this.#inner.list(prefix, after);
    if (fault?.kind === 'lose-reply') throw fault.error;
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  async #run<T>(call: StoreCall, name: string, work: () => Promise<T>): Promise<T> {
    const fault = this.#next(call, name);
    await before(fault);
    const result = await work();
    if (fault?.kind === 'lose-reply') throw fault.error;
    if (fault?.kind === 'change-bytes' && Buffer.isBuffer(result)) {
      return fault.change(Buffer.from(result)) as Buffer & T;
    }
    return result;
  }

  /** The first fault set up that hits this call; each one counts every call that it is aimed at. */
  #next(call: StoreCall, name: string): Fault | undefined {
    this.#calls[call]++;
    let hit: Fault | undefined;
    for (const armed of this.#faults) {
      if (armed.call !== call || !name.startsWith(armed.prefix)) continue;
      armed.seen++;
      if (armed.seen >= armed.first && armed.seen <= armed.last) hit ??= armed.fault;
    }
    return hit;
  }
}

async function before(fault: Fault | undefined): Promise<void> {
  if (fault?.kind === 'fail') throw fault.error;
  if (fault?.kind === 'wait') await fault.until();
}

/** The faults that tests need most. */
export const faults = {
  unreachable: (): Fault => ({ kind: 'fail', error: new TmError('TM1201', 'a fault of the test') }),
  failing: (): Fault => ({ kind: 'fail', error: new TmError('TM1211', 'a fault of the test') }),
  full: (): Fault => ({ kind: 'fail', error: new TmError('TM1204', 'a fault of the test') }),
  lostReply: (): Fault => ({ kind: 'lose-reply', error: new TmError('TM1211', 'a reply lost by the test') }),
  shortBytes: (by = 1): Fault => ({
    kind: 'change-bytes',
    change: (bytes) => bytes.subarray(0, Math.max(0, bytes.length - by)),
  }),
  flippedBit: (bit = 0): Fault => ({
    kind: 'change-bytes',
    change: (bytes) => {
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      return bytes;
    },
  }),
  /** The call waits until `release`; `reached` resolves when it does. */
  stall: (): { fault: Fault; reached: Promise<void>; release: () => void } => {
    const reached = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    const until = (): Promise<void> => {
      reached.resolve();
      return released.promise;
    };
    return { fault: { kind: 'wait', until }, reached: reached.promise, release: released.resolve };
  },
};
