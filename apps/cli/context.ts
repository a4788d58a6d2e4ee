import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { BackupReader } from '../../libs/catalogue/backup-reader.ts';
import { openCellStore } from '../../libs/cell/open-cell-store.ts';
import { embeddedReader } from '../../libs/embedded/embedded-reader.ts';
import { Engine, type EngineConfig } from '../../libs/embedded/engine.ts';
import { TmError } from '../../libs/model/errors.ts';
import { readStoreIdentity } from '../../libs/store/store-identity.ts';
import type { Output } from './output.ts';
import type { Settings } from './settings.ts';

export interface Context {
  readonly settings: Settings;
  readonly output: Output;
  /** Aborted by SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
}

/**
 * Nothing was ever set up here: a command that only looks must not make a home to say so. Throws TM1208 where the store
 * holds something: then the home was lost.
 */
export async function isUntouched(settings: Settings): Promise<boolean> {
  const { home, registryUrl, storeUrl } = settings;
  if (registryUrl !== undefined || existsSync(join(home, 'home.json'))) return false;
  if (await isStore(settings)) throw new TmError('TM1208', storeUrl);
  return true;
}

async function isStore(settings: Settings): Promise<boolean> {
  try {
    const store = await openCellStore(settings, false);
    return (await readStoreIdentity(store).finally(() => store.close())) !== undefined;
  } catch (error) {
    if (error instanceof TmError && error.code === 'TM1202') return false;
    throw error;
  }
}

/** Opens the engine for a command that decides and closes it afterwards, whatever happens. */
export function withEngine<T>(
  context: Context,
  create: boolean,
  work: (engine: Engine) => Promise<T>,
): Promise<T> {
  return openFor(context, { create }, work);
}

/** For a command that only looks: damage that does not keep it from that is a warning. */
export function withLookingEngine<T>(
  context: Context,
  work: (engine: Engine) => Promise<T>,
  isRaw = false,
): Promise<T> {
  const onDamage = (error: TmError) => context.output.warning(error, isRaw);
  return openFor(context, { create: false, onDamage }, work);
}

/** The same for reading packs: nothing is decided to be deleted meanwhile; a prune that is deciding is waited for. */
export function withReadingEngine<T>(
  context: Context,
  work: (engine: Engine) => Promise<T>,
  isRaw = false,
): Promise<T> {
  const locked = (engine: Engine) => engine.registry.journal.withStoreLock('shared', () => work(engine));
  return withLookingEngine(context, locked, isRaw);
}

/** For a command that only reads. `readsPacks`: also from the store. `isRaw`: its output is a file's content. */
export function withReader<T>(
  context: Context,
  work: (reader: BackupReader) => Promise<T>,
  { readsPacks = false, isRaw = false } = {},
): Promise<T> {
  if (context.settings.server) return overServices(context, work, readsPacks && !isRaw);
  const open = readsPacks ? withReadingEngine : withLookingEngine;
  return open(context, (engine) => work(embeddedReader(engine)), isRaw);
}

/** Loaded only where it is asked for: embedded commands start without an HTTP client. */
async function overServices<T>(
  context: Context,
  work: (reader: BackupReader) => Promise<T>,
  needsHome: boolean,
): Promise<T> {
  const { withServer } = await import('./with-server.ts');
  return withServer(context, (_connection, reader) => work(reader), needsHome);
}

async function openFor<T>(
  { settings, output, signal }: Context,
  mode: Pick<EngineConfig, 'create' | 'onDamage'>,
  work: (engine: Engine) => Promise<T>,
): Promise<T> {
  if (!mode.create && (await isUntouched(settings))) {
    throw new TmError('TM1202', `${settings.home} holds no registry; nothing was backed up from here yet`);
  }
  const engine = await Engine.open({ ...settings, ...mode, onStatus: (text) => output.status(text), signal });
  try {
    return await work(engine);
  } finally {
    await engine.close();
  }
}
