import { TmError } from '../model/errors.ts';
import { Engine, type EngineConfig } from './engine.ts';

interface Kept {
  readonly engine: Engine;
  users: number;
  isGivenUp: boolean;
}

/**
 * An engine for a process that stays. After a failure that may come of registry or store it is opened anew: Postgres may
 * have been stopped, a disk mounted again. Who uses it meanwhile goes on with the old one.
 */
export class EngineKeeper {
  readonly #config: EngineConfig;
  #kept: Promise<Kept> | undefined;

  constructor(config: EngineConfig) {
    this.#config = config;
  }

  async use<T>(work: (engine: Engine) => Promise<T>): Promise<T> {
    const kept = await this.#open();
    kept.users++;
    try {
      return await work(kept.engine);
    } catch (error) {
      if (isOfEngine(error)) this.#giveUp(kept);
      throw error;
    } finally {
      kept.users--;
      await closeUnused(kept);
    }
  }

  /** To be called when nobody uses it any more. */
  async close(): Promise<void> {
    const kept = await this.#kept?.catch(() => undefined);
    if (!kept) return;
    this.#giveUp(kept);
    await closeUnused(kept);
  }

  #open(): Promise<Kept> {
    this.#kept ??= Engine.open(this.#config).then(
      (engine) => ({ engine, users: 0, isGivenUp: false }),
      (error) => {
        this.#kept = undefined;
        throw error;
      },
    );
    return this.#kept;
  }

  #giveUp(kept: Kept): void {
    if (kept.isGivenUp) return;
    kept.isGivenUp = true;
    this.#kept = undefined;
  }
}

async function closeUnused({ engine, users, isGivenUp }: Kept): Promise<void> {
  if (users === 0 && isGivenUp) await engine.close().catch(() => {}); // it may be what failed
}

/** Not what is said of the source (11xx), of its slot, or of who interrupts. */
const isOfEngine = (error: unknown): boolean =>
  !(error instanceof TmError && (/^TM1[01]/.test(error.code) || ['TM1501', 'TM1508'].includes(error.code)));
