import { randomUUID } from 'node:crypto';
import { openCellStore } from '../cell/open-cell-store.ts';
import { readingKeys } from '../cell/reading-keys.ts';
import { sealedOpener } from '../cell/sealed-parts.ts';
import { TmError } from '../model/errors.ts';
import {
  emptyJournal,
  type FoundGap,
  type Journal,
  ownDecisions,
  readDecisions,
} from '../rebuild/decisions.ts';
import type { OnFinding, RebuildFinding } from '../rebuild/finding.ts';
import { foldHistory, type StoreHistory } from '../rebuild/history.ts';
import { lostObjects, newGaps, numbersTaken, ownersOf, planLosses } from '../rebuild/losses.ts';
import { type RebuildResult, rebuildRegistry } from '../rebuild/rebuild-registry.ts';
import type { RunSource } from '../rebuild/run-cursor.ts';
import type { Registry } from '../registry/port.ts';
import { JournalWriter, listWriters } from '../store/journal.ts';
import { journalName } from '../store/journal-name.ts';
import { headProblem } from '../store/journal-reader.ts';
import { type Claims, claimOwner, type Owner, readClaims } from '../store/owner.ts';
import type { Store } from '../store/port.ts';
import { type FoundSecrets, findDomainSecrets, saveDomain } from './domain-files.ts';
import type { EngineConfig } from './engine.ts';
import { type FoundIdentity, identityLosses, identityOf, writeIdentity } from './found-identity.ts';
import { Home } from './home.ts';
import { openRegistryToRebuild } from './open-registry.ts';

export interface RebuildRequest {
  /** Claims a store that another registry took from the one that is rebuilt. */
  readonly takeOver: boolean;
  /** Gives up what only the registry still knows, where the store has lost objects that it has taken in. */
  readonly acceptLoss?: boolean;
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
  readonly identity: FoundIdentity;
  readonly registry: Registry;
  readonly found: FoundSecrets;
  /** By domain. */
  readonly runs: ReadonlyMap<string, RunSource>;
}

/**
 * Rebuilds the registry from the store alone (docs/decisions/006-who-may-rebuild.md). Everything that can be refused is
 * refused before anything is changed; the registry knows its store only when it is whole, so that after a crash it is
 * an empty registry over a full store, and the rebuild is run again.
 */
export async function rebuild(config: EngineConfig, request: RebuildRequest): Promise<Rebuilt> {
  const home = await Home.open(config.home);
  const store = await openCellStore(config, false);
  try {
    const identity = await identityOf(store);
    if ('problem' in identity && (await listWriters(store)).length === 0) throw identity.problem;
    const found = await findDomainSecrets(home, store, config);
    const runs = await runSources(store, found);
    const { registry, release } = await openRegistryToRebuild(config, home);
    try {
      return await registry.journal.withStoreLock('exclusive', () =>
        rebuildLocked({ config, request, home, store, identity, registry, found, runs }),
      );
    } finally {
      await registry.close();
      await release();
    }
  } finally {
    await store.close();
  }
}

async function runSources(store: Store, { secrets }: FoundSecrets): Promise<Map<string, RunSource>> {
  const runs = new Map<string, RunSource>();
  for (const secret of secrets) {
    const { ring, domainId } = await readingKeys({ store, secret: async () => secret });
    runs.set(domainId, { store, ring, domainId });
  }
  return runs;
}

async function rebuildLocked(work: Rebuilding): Promise<Rebuilt> {
  const { request, home, store, registry, runs, found } = work;
  const claims = await readClaims(store);
  const journal = emptyJournal();
  const heads = await registry.journal.heads();
  const taken = numbersTaken(claims.owners);
  for (const { writer, number } of heads) taken.set(writer, Math.max(number, taken.get(writer) ?? 0));
  await readDecisions(store, journal, taken);
  const owners = ownersOf(claims, journal);
  const storeId = await checkJournal(work, journal);
  await checkRights(work, storeId, claims, owners);
  await checkHeads(work, newGaps(journal, owners));
  await historyOf(work, journal, owners);
  await registry.clear();
  await fenceWriters(work, claims.newest, journal);
  const gaps = newGaps(journal, owners);
  const lostClaims = lostOf(claims, owners);
  const owner = await claimOwner(store, {
    registryId: randomUUID(),
    takenIn: takenIn(journal),
    ...acceptedBy(owners, gaps, claims),
    now: new Date(),
  });
  await writeIdentity(store, work.identity, storeId);
  const history = await historyOf(work, journal, owners);
  const result = await rebuildRegistry(
    {
      registry,
      store,
      runs,
      generation: owner.generation,
      losses: [
        ...identityLosses(work.identity),
        ...keyLosses(found),
        ...planLosses(gaps, lostClaims, history),
      ],
      lostSeqs: lostObjects(journal),
      onFinding: request.onFinding,
      onProgress: request.onProgress,
    },
    history,
  );
  await restoreAccess(registry, found, history);
  const { identity: _, ...domain } = found.secrets[0]!;
  await saveDomain(home, domain);
  await takeOffice(work, storeId, owner, journal);
  const { generation } = owner;
  return { ...result, storeUrl: store.url, storeId, generation, foreignSources: history.foreignSources };
}

const historyOf = ({ runs }: Rebuilding, journal: Journal, owners: readonly Owner[]): Promise<StoreHistory> =>
  foldHistory(
    ownDecisions(journal, owners),
    new Map([...runs].map(([domain, source]) => [domain, sealedOpener(source)])),
  );

/** What services need to go on. Agents that the registry has lost get new tokens by enrolling again. */
async function restoreAccess(
  { domains, access }: Registry,
  { secrets }: FoundSecrets,
  { agents }: StoreHistory,
): Promise<void> {
  for (const { identity: _, ...domain } of secrets) await domains.add(domain);
  for (const agent of agents) await access.addAgent(agent);
}

const keyLosses = ({ damaged }: FoundSecrets): RebuildFinding[] =>
  [...damaged].map(([domain, { code, message }]) => ({
    code,
    message: `${message}; backups of domain ${domain} cannot be rebuilt`,
  }));

const takenIn = ({ ends }: Journal): Record<string, number> =>
  Object.fromEntries([...ends].map(([writer, { number }]) => [writer, number]));

/** Claims that can't be read and that nobody has named before. */
function lostOf({ lost }: Claims, owners: readonly Owner[]): Claims['lost'] {
  const named = new Set(owners.flatMap(({ lostClaims = [] }) => lostClaims));
  return new Map([...lost].filter(([generation]) => !named.has(generation)));
}

/** What the new owner goes on after, with what earlier ones did. */
function acceptedBy(
  owners: readonly Owner[],
  found: readonly FoundGap[],
  { lost }: Claims,
): Pick<Owner, 'gaps' | 'lostClaims'> {
  const known = owners.findLast((owner) => owner.gaps)?.gaps ?? [];
  const gaps = [...known, ...found.map(({ writer, after, before }) => ({ writer, after, before }))];
  const lostClaims = [...lost.keys()];
  return { ...(gaps.length > 0 ? { gaps } : {}), ...(lostClaims.length > 0 ? { lostClaims } : {}) };
}

/** Gives the id of the store, which the journal names too. Throws where there is nothing to rebuild from. */
async function checkJournal({ store, identity }: Rebuilding, { decisions }: Journal): Promise<string> {
  if (decisions.length === 0)
    for await (const { name } of store.list('packs/'))
      throw new TmError('TM1212', `${store.url} holds packs (${name}), but no whole object of a journal`);
  const named = decisions.map(({ record }) => record).find((record) => record.kind === 'store')?.storeId;
  if (!('problem' in identity)) return identity.storeId;
  if (named === undefined) throw identity.problem;
  return named;
}

/** Nobody may be at work with the old registry, and it must not be one that was fenced by another. */
async function checkRights(
  { registry, store, request }: Rebuilding,
  storeId: string,
  { newest }: Claims,
  owners: readonly Owner[],
): Promise<void> {
  const known = await registry.journal.store();
  if (known && known.storeId !== storeId)
    throw new TmError('TM1203', `${store.url} is store ${storeId}, the registry knows ${known.storeId}`);
  const owner = owners.at(-1);
  const isOurs =
    owner && owner.generation >= newest
      ? owner.registryId === known?.registryId
      : known && newest <= known.ownerGeneration;
  if (known && newest > 0 && !isOurs && !request.takeOver)
    throw new TmError(
      'TM1207',
      `${store.url} was claimed by registry ${owner?.registryId ?? 'unknown'}${owner ? ` on ${owner.time}` : ''}; with --take-over that one can write no more`,
    );
  for (const { id } of await registry.backups.sources()) await registry.backups.withSlot(id, async () => {});
}

/** Where the old registry has taken in more than the store holds, it is the only one that knows of it. */
async function checkHeads(
  { registry, store, request }: Rebuilding,
  gaps: readonly FoundGap[],
): Promise<void> {
  if (request.acceptLoss) return;
  for (const head of await registry.journal.heads()) {
    const gap = gaps.find(({ writer, after }) => writer === head.writer && after < head.number);
    const problem = gap?.problem ?? (await headProblem(store, head.writer, head));
    if (problem === undefined) continue;
    const what = gap ? problem : `${journalName(head.writer, head.number)} ${problem}`;
    throw new TmError(
      'TM1212',
      `${what}; this registry still knows what it held, so it is not emptied: with --accept-loss it is`,
    );
  }
}

/**
 * Puts a void at the end of every chain, and takes in what came before it. Whoever held the store finds its next
 * number taken: no commit of an old registry falls between what is taken in and the claim.
 */
async function fenceWriters({ store }: Rebuilding, newest: number, journal: Journal): Promise<void> {
  const ownerGeneration = Math.max(newest, 1);
  const fenced = new Set<string>();
  do {
    await readDecisions(store, journal, new Map());
    for (const [writer, head] of journal.ends) {
      if (fenced.has(writer)) continue;
      const chain = new JournalWriter(store, { writer, head, ownerGeneration, now: () => new Date() });
      if ((await chain.putVoid(head.number + 1)) === 'void') fenced.add(writer);
    }
  } while (fenced.size < journal.ends.size);
  await readDecisions(store, journal, new Map());
}

/** The registry is whole: it knows where it stands in the journal, says so there, and owns the store from now on. */
async function takeOffice(
  { home, store, registry }: Rebuilding,
  storeId: string,
  { time: _, ...owner }: Owner,
  { ends }: Journal,
): Promise<void> {
  const { registryId, generation } = owner;
  for (const [writer, { number, chain }] of ends) await registry.journal.setHead({ writer, number, chain });
  await registry.journal.withWriter(home.writer, async () => {
    const journal = new JournalWriter(store, {
      writer: home.writer,
      head: ends.get(home.writer),
      ownerGeneration: generation,
      now: () => new Date(),
    });
    const record = { kind: 'owner' as const, ...owner };
    await registry.journal.setHead(await journal.append([record]));
  });
  await registry.journal.setStore({ storeId, registryId, ownerGeneration: generation });
}
