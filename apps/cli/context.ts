import { Engine } from '../../libs/embedded/engine.ts';
import type { Settings } from './options.ts';
import type { Output } from './output.ts';

export interface Context {
  readonly settings: Settings;
  readonly output: Output;
  /** Aborted by SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
}

/** Opens the engine for a command and closes it afterwards, whatever happens. */
export async function withEngine<T>(
  { settings, output }: Context,
  create: boolean,
  work: (engine: Engine) => Promise<T>,
): Promise<T> {
  const engine = await Engine.open({ ...settings, create, onStatus: (text) => output.status(text) });
  try {
    return await work(engine);
  } finally {
    await engine.close();
  }
}

/**
 * `withEngine` for reading packs: nothing is decided to be deleted meanwhile; a prune that is deciding is waited for.
 */
export function withReading<T>(context: Context, work: (engine: Engine) => Promise<T>): Promise<T> {
  return withEngine(context, false, (engine) =>
    engine.registry.journal.withStoreLock('shared', () => work(engine)),
  );
}
