import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Engine } from '../../libs/embedded/engine.ts';
import { TmError } from '../../libs/model/errors.ts';
import type { Output } from './output.ts';
import type { Settings } from './settings.ts';

export interface Context {
  readonly settings: Settings;
  readonly output: Output;
  /** Aborted by SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
}

/** Nothing was ever set up here: a command that only looks must not make a home to say so. */
export const isUntouched = ({ home, registryUrl }: Settings): boolean =>
  registryUrl === undefined && !existsSync(join(home, 'home.json'));

/** Opens the engine for a command and closes it afterwards, whatever happens. */
export async function withEngine<T>(
  { settings, output, signal }: Context,
  create: boolean,
  work: (engine: Engine) => Promise<T>,
): Promise<T> {
  if (!create && isUntouched(settings)) {
    throw new TmError('TM1202', `${settings.home} holds no registry; nothing was backed up from here yet`);
  }
  const engine = await Engine.open({ ...settings, create, onStatus: (text) => output.status(text), signal });
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
