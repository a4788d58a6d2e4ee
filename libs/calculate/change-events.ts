import type { ChangeMessage, DeltaMessage } from '../contracts/messages.ts';
import { TmError } from '../model/errors.ts';
import { type FixedSource, fixedSources } from '../registry/fixed-sources.ts';
import type { Registry } from '../registry/port.ts';
import { type BackupContext, DeltaCalculator } from './delta-calculator.ts';

/** Backups whose context is remembered: it is fixed at open. */
const CONTEXTS = 1000;

/** The calculator between two topics: every change-events message becomes one delta-sets message. */
export class ChangeEvents {
  readonly #registry: Pick<Registry, 'backups'>;
  readonly #sourceOf: (id: number) => Promise<FixedSource>;
  readonly #calculator: DeltaCalculator;
  readonly #publish: (messages: readonly DeltaMessage[]) => Promise<void>;
  readonly #contexts = new Map<string, Promise<BackupContext>>();

  constructor(
    registry: Pick<Registry, 'backups' | 'entries' | 'catalogue'>,
    publish: (messages: readonly DeltaMessage[]) => Promise<void>,
  ) {
    this.#registry = registry;
    this.#sourceOf = fixedSources(registry);
    this.#publish = publish;
    this.#calculator = new DeltaCalculator(registry.entries, (id) => this.#context(id));
  }

  /** Resolves when all that was made of the messages is published. One is on its way while the next is calculated. */
  readonly handle = async (messages: readonly ChangeMessage[]): Promise<void> => {
    let published = Promise.resolve();
    try {
      for (const message of messages) {
        const delta = await this.#calculator.calculate(message);
        await published;
        published = this.#publish([delta]);
        published.catch(() => {}); // it is thrown where it is waited for
      }
    } finally {
      await published;
    }
  };

  #context(backupId: string): Promise<BackupContext> {
    const known = this.#contexts.get(backupId);
    if (known) return known;
    const context = this.#load(backupId);
    context.catch(() => this.#contexts.delete(backupId));
    this.#contexts.set(backupId, context);
    if (this.#contexts.size > CONTEXTS) this.#contexts.delete(this.#contexts.keys().next().value!);
    return context;
  }

  async #load(backupId: string): Promise<BackupContext> {
    const { backups } = this.#registry;
    const backup = await backups.get(backupId);
    if (!backup) throw new TmError('TM1507', backupId);
    return { backup, source: await this.#sourceOf(backup.sourceId) };
  }
}
