import type { DomainKeys } from '../blocks/keys.ts';
import { DataKey, dataKeyName } from '../commit/data-key.ts';
import type { SealBlock } from '../commit/run-writer.ts';
import { TmError } from '../model/errors.ts';
import type { JournalHead, Registry, StoreRow } from '../registry/port.ts';
import { JournalWriter } from '../store/journal.ts';
import { isBehind } from '../store/journal-reader.ts';
import type { JournalRecord } from '../store/journal-records.ts';
import { newestGeneration } from '../store/owner.ts';
import type { Store } from '../store/port.ts';
import type { DomainReadingKeys } from './reading-keys.ts';
import { rollWriterForward } from './roll-forward.ts';

export interface CellParts {
  readonly registry: Registry;
  readonly store: Store;
  readonly storeRow: StoreRow;
  /** Id of the journal that this process appends to. */
  readonly writer: string;
  readonly onStatus: (text: string) => void;
  /** Given by who only reads: damage of the store that does not keep anybody from reading is told, not thrown. */
  readonly onDamage?: ((error: TmError) => void) | undefined;
}

/**
 * Registry and store that belong together, opened and checked, and the right to decide: the store is the one that the
 * registry knows, and the registry owns it.
 */
export class Cell {
  readonly registry: Registry;
  readonly store: Store;
  readonly storeRow: StoreRow;
  readonly writer: string;
  readonly onStatus: (text: string) => void;
  readonly onDamage: ((error: TmError) => void) | undefined;
  readonly #damage: TmError[] = [];
  readonly #dataKeys = new Map<string, DataKey>();

  constructor(parts: CellParts) {
    this.registry = parts.registry;
    this.store = parts.store;
    this.storeRow = parts.storeRow;
    this.writer = parts.writer;
    this.onStatus = parts.onStatus;
    this.onDamage = parts.onDamage;
  }

  /** This process's data key of a domain, under which it seals runs and secret parts of the journal. */
  dataKeyOf(domain: DomainKeys): DataKey {
    let key = this.#dataKeys.get(domain.id);
    if (!key) {
      key = new DataKey(domain, ({ id, wrapped }) => this.store.create(dataKeyName(id), [wrapped]));
      this.#dataKeys.set(domain.id, key);
    }
    return key;
  }

  sealFor(domain: DomainKeys): SealBlock {
    return (plain, kind) => this.dataKeyOf(domain).seal(plain, kind);
  }

  /** Whether `readingKeys` gives any. */
  get readsBack(): boolean {
    return false;
  }

  /** Opens what is sealed in the journal. Services hold no identity: what needs one is left to a rebuild. */
  readingKeys(domain: string): Promise<DomainReadingKeys> {
    const message = `the journal holds decisions of domain ${domain} that the registry lacks; run \`tidemark registry rebuild\` with the identity`;
    return Promise.reject(new TmError('TM1212', message));
  }

  /** What was found damaged when the store was opened for reading. */
  get damage(): readonly TmError[] {
    return this.#damage;
  }

  readonly noteDamage = (error: TmError): void => {
    this.#damage.push(error);
    this.onDamage?.(error);
  };

  /**
   * This process's journal, taken in to its end: another process may have written to it and died. Call it under
   * `withWriter`. Throws TM1207 where the store was claimed since it was opened: what is written past the claimer's
   * void is ignored.
   */
  async journal(): Promise<JournalWriter> {
    if (this.#damage[0]) throw this.#damage[0]; // nothing is decided on what is known to be incomplete
    const { writer } = this;
    const { ownerGeneration } = this.storeRow;
    const known = (await this.registry.journal.heads()).find((one) => one.writer === writer);
    const look = isBehind(this.store, writer, known); // while the claims are listed
    look.catch(() => {});
    const newest = await newestGeneration(this.store);
    if (newest !== ownerGeneration)
      throw new TmError('TM1207', `${this.store.url} is at owner generation ${newest} now`);
    return new JournalWriter(this.store, {
      writer,
      head: (await look) ? await rollWriterForward(this, writer) : known,
      ownerGeneration,
      now: () => new Date(),
    });
  }

  /** Makes a decision durable in the journal, then has `effect` write it to the registry together with the new head. */
  async decide(
    records: readonly JournalRecord[],
    sections: readonly Buffer[],
    effect: (head: JournalHead) => Promise<void>,
  ): Promise<void> {
    await this.registry.journal.withWriter(this.writer, async () => {
      const journal = await this.journal();
      await effect(await journal.append(records, sections));
    });
  }
}
