import { TmError } from '../model/errors.ts';
import type { JournalHead } from '../registry/port.ts';
import { journalName } from './journal-name.ts';
import { type ChainHead, encodeJournalObject, NO_CHAIN } from './journal-object.ts';
import { readJournalObject } from './journal-reader.ts';
import type { JournalRecord } from './journal-records.ts';
import type { Store } from './port.ts';

export interface JournalWriterOptions {
  readonly writer: string;
  /** Up to where the registry took this writer's journal in; undefined before its first object. */
  readonly head: ChainHead | undefined;
  readonly ownerGeneration: number;
  readonly now: () => Date;
}

/**
 * Appends to one writer's chain. Numbers are allotted under a lock that the caller holds from before `next` until the
 * append has ended; one append at a time. After an error the outcome is unknown: read the journal's tail and make a
 * new writer from its head.
 */
export class JournalWriter {
  readonly #store: Store;
  readonly #options: JournalWriterOptions;
  #head: ChainHead;
  #busy = false;

  constructor(store: Store, options: JournalWriterOptions) {
    this.#store = store;
    this.#options = options;
    this.#head = options.head ?? { number: 0, chain: NO_CHAIN };
  }

  /** The number that the next append gets. A backup that is committing names it before the object exists. */
  next(): number {
    return this.#head.number + 1;
  }

  /** Durable when it resolves. Throws TM1210 where another object has the number. */
  append(records: readonly JournalRecord[], sections: readonly Buffer[] = []): Promise<JournalHead> {
    return this.#alone(() => this.#put(records, sections));
  }

  /**
   * Fails whatever was about to be written as `number`: puts a void object there, which counts in the chain.
   * 'exists': a record of somebody is there, so read it to learn what was committed. 'void' again when repeated.
   */
  putVoid(number: number): Promise<'void' | 'exists'> {
    return this.#alone(async () => {
      const { writer } = this.#options;
      if (number > this.next()) {
        throw new TmError(
          'TM1099',
          `${journalName(writer, number)} would leave a gap after ${this.#head.number}`,
        );
      }
      if (number === this.next()) {
        try {
          await this.#put([{ kind: 'void' }], []);
          return 'void';
        } catch (error) {
          if (!(error instanceof TmError && error.code === 'TM1210')) throw error;
        }
      }
      return this.#lookAt(number);
    });
  }

  /** The chain's head moves over a void that was put before; it stays before other objects, which must be taken in. */
  async #lookAt(number: number): Promise<'void' | 'exists'> {
    const previous = number === this.next() ? this.#head.chain : undefined;
    const object = await readJournalObject(this.#store, this.#options.writer, number, previous);
    if (!object.records.every((record) => record.kind === 'void')) return 'exists';
    if (previous) this.#head = { number, chain: object.chain };
    return 'void';
  }

  async #put(records: readonly JournalRecord[], sections: readonly Buffer[]): Promise<JournalHead> {
    const { writer, ownerGeneration, now } = this.#options;
    const number = this.next();
    const content = { writer, number, ownerGeneration, time: now(), records, sections };
    const { parts, chain } = encodeJournalObject(content, this.#head.chain);
    await this.#store.create(journalName(writer, number), parts);
    this.#head = { number, chain };
    return { writer, number, chain };
  }

  async #alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.#busy) throw new TmError('TM1099', 'two appends to one journal at the same time');
    this.#busy = true;
    try {
      return await work();
    } finally {
      this.#busy = false;
    }
  }
}
