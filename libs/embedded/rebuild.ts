import { randomUUID } from 'node:crypto';
import type { DomainSecret } from '../blocks/keys.ts';
import { TmError } from '../model/errors.ts';
import { type Journal, readDecisions } from '../rebuild/decisions.ts';
import type { OnFinding } from '../rebuild/finding.ts';
import { foldHistory, type StoreHistory } from '../rebuild/history.ts';
import { type RebuildResult, rebuildRegistry } from '../rebuild/rebuild-registry.ts';
import type { RunSource } from '../rebuild/run-cursor.ts';
import type { Registry } from '../registry/port.ts';
import { JournalWriter } from '../store/journal.ts';
import { journalName } from '../store/journal-name.ts';
import { headProblem } from '../store/journal-reader.ts';
import { claimOwner, listOwners, type Owner } from '../store/owner.ts';
import type { Store } from '../store/port.ts';
import { readStoreIdentity } from '../store/store-identity.ts';
import { findDomainSecret, saveDomain } from './domain-files.ts';
import type { EngineConfig } from './engine.ts';
import { Home } from './home.ts';
import { openEngineStore } from './open-engine-store.ts';
import { openRegistryToRebuild } from './open-registry.ts';
import { readingKeys } from './reading-keys.ts';
import { sealedOpener } from './sealed-parts.ts';

export interface RebuildRequest {
  /** Claims a store that another registry took from the one that is rebuilt. */
  readonly takeOver: boolean;
  readonly onFinding: OnFinding;
  readonly onProgress: (progress: Pick<RebuildResult, 'backups' | 'packs'>) => void;
}

export interface Rebuilt extends RebuildResult {
  readonly storeUrl: string;
  readonly storeId: string;
  readonly generation: number;
  /** Sources of domains that the identity does not open: they are not in the registry. */
  readonly foreignSources: number;
}

/** All that a rebuild works on. */
interface Rebuilding {
  readonly config: EngineConfig;
  readonly request: RebuildRequest;
  readonly home: Home;
  readonly store: Store;
  readonly storeId: string;
  readonly registry: Registry;
  readonly secret: DomainSecret;
  readonly runs: RunSource;
}

/**
 * Rebuilds the registry from the store alone (docs/decisions/006-who-may-rebuild.md). Everything that can be refused is
 * refused before anything is changed; the registry knows its store only when it is whole, so that after a crash it is
 * an empty registry over a full store, and the rebuild is run again.
 */
export async function rebuild(config: EngineConfig, request: RebuildRequest): Promise<Rebuilt> {
  const home = await Home.open(config.home);
  const store = await openEngineStore(config, false);
  try {
    const identity = await readStoreIdentity(store);
    if (!identity) throw new TmError('TM1202', store.url);
    const secret = await findDomainSecret(home, store, config);
    const { ring, domainId } = await readingKeys({ store, secret: async () => secret });
    const { registry, release } = await openRegistryToRebuild(config, home);
    const runs = { store, ring, domainId };
    const { storeId } = identity;
    try {
      return await registry.journal.withStoreLock('exclusive', () =>
        rebuildLocked({ config, request, home, store, storeId, registry, secret, runs }),
      );
    } finally {
      await registry.close();
      await release();
    }
  } finally {
    await store.close();
  }
}

async function rebuildLocked(work: Rebuilding): Promise<Rebuilt> {
  const { request, home, store, storeId, registry, runs, secret } = work;
  const owners = await listOwners(store);
  await checkRights(work, owners.at(-1));
  const journal = await readDecisions(store, owners);
  await historyOf(work, journal);
  await registry.clear();
  await fenceWriters(work, owners, journal);
  const owner = await claimOwner(store, {
    registryId: randomUUID(),
    takenIn: takenIn(journal),
    now: new Date(),
  });
  const history = await historyOf(work, journal);
  const result = await rebuildRegistry(
    {
      registry,
      runs,
      generation: owner.generation,
      onFinding: request.onFinding,
      onProgress: request.onProgress,
    },
    history,
  );
  const { identity: _, ...domain } = secret;
  await saveDomain(home, domain);
  await takeOffice(work, owner, journal);
  const { generation } = owner;
  return { ...result, storeUrl: store.url, storeId, generation, foreignSources: history.foreignSources };
}

const historyOf = ({ runs }: Rebuilding, journal: Journal): Promise<StoreHistory> =>
  foldHistory(journal.decisions, runs.domainId, sealedOpener(runs));

const takenIn = ({ ends }: Journal): Record<string, number> =>
  Object.fromEntries([...ends].map(([writer, { number }]) => [writer, number]));

/** Nobody may be at work with the old registry, and it must not be one that was fenced by another. */
async function checkRights(
  { registry, store, storeId, request }: Rebuilding,
  owner: Owner | undefined,
): Promise<void> {
  const known = await registry.journal.store();
  if (known && known.storeId !== storeId)
    throw new TmError('TM1203', `${store.url} is store ${storeId}, the registry knows ${known.storeId}`);
  if (known && owner && owner.registryId !== known.registryId && !request.takeOver)
    throw new TmError(
      'TM1207',
      `${store.url} was claimed by registry ${owner.registryId} on ${owner.time}; with --take-over that one can write no more`,
    );
  // Where the old registry has taken in more than the store holds, it is the only one that knows of it.
  for (const head of await registry.journal.heads()) {
    const problem = await headProblem(store, head.writer, head);
    if (problem) throw new TmError('TM1212', `${journalName(head.writer, head.number)} ${problem}`);
  }
  for (const { id } of await registry.backups.sources()) await registry.backups.withSlot(id, async () => {});
}

/**
 * Puts a void at the end of every chain, and takes in what came before it. Whoever held the store finds its next
 * number taken: no commit of an old registry falls between what is taken in and the claim.
 */
async function fenceWriters(
  { store }: Rebuilding,
  owners: readonly Owner[],
  journal: Journal,
): Promise<void> {
  const ownerGeneration = owners.at(-1)?.generation ?? 1;
  const fenced = new Set<string>();
  do {
    await readDecisions(store, owners, journal);
    for (const [writer, head] of journal.ends) {
      if (fenced.has(writer)) continue;
      const chain = new JournalWriter(store, { writer, head, ownerGeneration, now: () => new Date() });
      if ((await chain.putVoid(head.number + 1)) === 'void') fenced.add(writer);
    }
  } while (fenced.size < journal.ends.size);
  await readDecisions(store, owners, journal);
}

/** The registry is whole: it knows where it stands in the journal, says so there, and owns the store from now on. */
async function takeOffice(
  { home, store, registry, storeId }: Rebuilding,
  owner: Owner,
  { ends }: Journal,
): Promise<void> {
  const { registryId, generation, takenIn: taken } = owner;
  for (const [writer, end] of ends) await registry.journal.setHead({ writer, ...end });
  await registry.journal.withWriter(home.writer, async () => {
    const journal = new JournalWriter(store, {
      writer: home.writer,
      head: ends.get(home.writer),
      ownerGeneration: generation,
      now: () => new Date(),
    });
    const record = { kind: 'owner' as const, registryId, generation, takenIn: taken };
    await registry.journal.setHead(await journal.append([record]));
  });
  await registry.journal.setStore({ storeId, registryId, ownerGeneration: generation });
}
