import { packName } from '../blocks/pack.ts';
import type { BackupInfo } from '../model/backup.ts';
import { blockIdsOf, decodeState } from '../model/entry.ts';
import { TmError } from '../model/errors.ts';
import type { LiveFrame, PackUse, Registry } from '../registry/port.ts';
import type { CollectableStore, ObjectInfo } from '../store/port.ts';

export interface PruneRequest {
  readonly domain: string;
  /** Changes nothing, not even rows. */
  readonly dryRun: boolean;
  /** An object in packs/ that no row knows of; it is left alone. */
  readonly onOrphan: (object: ObjectInfo) => void;
  readonly signal?: AbortSignal;
}

export interface PruneDeps {
  readonly registry: Registry;
  readonly store: CollectableStore;
  /** Settles what crashed processes left in `committing`. */
  readonly recover: () => Promise<void>;
}

export interface PruneResult {
  /** Deleted, or with dryRun to be deleted: those that nothing needs, and those that a crash left half made. */
  packs: number;
  bytes: number;
  /** Dead bytes that stay, since their packs hold needed blocks too. */
  idleBytes: number;
  orphans: number;
  orphanBytes: number;
}

const NAMES_A_QUERY = 1000;

/**
 * Deletes packs in which no kept backup has a block or a run. Three steps, each durable before the next: rows are
 * condemned (their blocks count as missing at once, so that a later backup puts them anew), objects are deleted, rows
 * are forgotten. Killed anywhere, the next prune goes on from the condemned rows.
 */
export async function prune(request: PruneRequest, deps: PruneDeps): Promise<PruneResult> {
  const { registry } = deps;
  if (!request.dryRun)
    for (const source of await registry.backups.sources()) {
      checkSignal(request.signal);
      await registry.entries.dropUnseen(source.id);
    }
  const { use, condemned } = await registry.journal.withStoreLock('exclusive-now', (stillHeld) =>
    decide(request, deps, stillHeld),
  );
  const result: PruneResult = { packs: 0, bytes: 0, idleBytes: use.idleBytes, orphans: 0, orphanBytes: 0 };
  for await (const object of orphans(deps)) {
    result.orphans++;
    result.orphanBytes += object.size;
    request.onOrphan(object);
  }
  for (const id of condemned) {
    checkSignal(request.signal);
    const object = await deps.store.stat(packName(id));
    if (object) {
      result.packs++;
      result.bytes += object.size;
    }
    if (request.dryRun) continue;
    if (object) await deps.store.delete(object.name);
    await registry.blocks.forgetPack(request.domain, id);
  }
  return result;
}

function checkSignal(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new TmError('TM1508');
}

/** Under the exclusive lock, so that no backup opens and nothing is read from packs meanwhile: marks, and condemns. */
async function decide(
  { domain, dryRun, signal }: PruneRequest,
  deps: PruneDeps,
  stillHeld: () => Promise<void>,
): Promise<{ use: PackUse; condemned: readonly Buffer[] }> {
  const { blocks } = deps.registry;
  await refuseWhileActive(dryRun, deps);
  const use = await blocks.unreferencedPacks(
    domain,
    liveBlocks(deps.registry, domain, signal),
    await liveRuns(deps.registry, domain),
  );
  if (use.unknown)
    throw new TmError(
      'TM1601',
      `a backup names block ${use.unknown.toString('hex')}, which no row knows of; nothing was deleted`,
    );
  const condemned = [...use.dead.map(({ id }) => id), ...(await blocks.unfinishedPacks(domain))];
  checkSignal(signal);
  await stillHeld(); // else a backup may have been opened that counts on these packs
  if (!dryRun) await blocks.condemn(domain, condemned);
  return { use, condemned };
}

/** What a backup under way has stored is not named by entries yet, so nobody could tell it from what is dead. */
async function refuseWhileActive(dryRun: boolean, { registry, recover }: PruneDeps): Promise<void> {
  const { backups } = registry;
  const abandoned = await backups.abandoned();
  if (!dryRun && abandoned.length > 0) {
    await recover();
    for (const backup of abandoned) await endAbandoned(registry, backup);
  }
  const spared = new Set(dryRun ? abandoned.map(({ id }) => id) : []);
  const busy = (await backups.active()).find(({ id }) => !spared.has(id));
  if (busy) throw new TmError('TM1501', `backup ${busy.label} is under way`);
}

/**
 * Its process is gone: the slot can be had, and nobody can open while the store's lock is held exclusive. What could
 * not be settled is still being committed: it stays, and keeps the prune from going on.
 */
async function endAbandoned(registry: Registry, { id, sourceId, label }: BackupInfo): Promise<void> {
  const data = { backupId: id, label, code: 'TM1502' };
  await registry.backups.withSlot(sourceId, () =>
    registry.backups.abort(id, 'TM1502', [{ type: 'backup.failed', data }]),
  );
}

async function* liveBlocks(
  registry: Registry,
  domain: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<readonly Buffer[]> {
  for await (const states of registry.entries.allStates(domain)) {
    checkSignal(signal);
    const ids = states.flatMap((state) => blockIdsOf(decodeState(state)));
    if (ids.length > 0) yield [...new Map(ids.map((id) => [id.toString('latin1'), id])).values()];
  }
}

/**
 * Frames of the runs of every kept backup: what a registry is rebuilt from. Those of each head too, in whatever state:
 * the next backup's run list begins with them.
 */
async function liveRuns(registry: Registry, domain: string): Promise<LiveFrame[]> {
  const { backups } = registry;
  const frames = new Map<string, LiveFrame>();
  const sources = (await backups.sources()).filter((one) => one.domain === domain);
  const heads = sources.map(({ id, head }) => ({ sourceId: id, seq: head }));
  const ours = new Set(sources.map(({ id }) => id));
  for (const { sourceId, seq } of [...heads, ...(await backups.list({})), ...(await backups.active())]) {
    if (!ours.has(sourceId)) continue;
    for (const { parts } of await backups.runsOf(sourceId, seq))
      for (const part of parts)
        if (part.in === 'pack')
          frames.set(`${part.pack}:${part.frameOffset}`, {
            pack: Buffer.from(part.pack, 'hex'),
            frameOffset: part.frameOffset,
          });
  }
  return [...frames.values()];
}

/** A row is there before its object is, and goes after it; so an object that is listed before its row is asked for has none. */
async function* orphans({ registry, store }: PruneDeps): AsyncGenerator<ObjectInfo> {
  let page: ObjectInfo[] = [];
  for await (const object of store.list('packs/')) {
    page.push(object);
    if (page.length < NAMES_A_QUERY) continue;
    yield* unknownOf(registry, page);
    page = [];
  }
  yield* unknownOf(registry, page);
}

async function* unknownOf(registry: Registry, page: readonly ObjectInfo[]): AsyncGenerator<ObjectInfo> {
  const idOf = ({ name }: ObjectInfo) => Buffer.from(name.slice(name.lastIndexOf('/') + 1), 'hex');
  const unknown = await registry.blocks.unknownPacks(page.map(idOf));
  const ids = new Set(unknown.map((id) => id.toString('hex')));
  for (const object of page) if (ids.has(idOf(object).toString('hex'))) yield object;
}
