import { commitRequestOf } from '../commit/commit-request.ts';
import { commitAll } from '../commit/settle.ts';
import { TmError } from '../model/errors.ts';
import { isDamage } from '../rebuild/damage.ts';
import { type Decision, decisionsOf } from '../rebuild/decisions.ts';
import type { Commit, SourceSecret } from '../rebuild/history.ts';
import { backupOf } from '../rebuild/rebuild-registry.ts';
import { type SealedPolicy, storePolicy } from '../rebuild/sealed-policy.ts';
import { SourceEntries } from '../rebuild/source-entries.ts';
import { distrustBlocks, distrustPacks, knownPacks, takeInPacks } from '../rebuild/take-in-packs.ts';
import type { JournalHead, SourceRow } from '../registry/port.ts';
import { expiredEvents } from '../retain/expired-events.ts';
import { type JournalObject, listWriters, readJournal } from '../store/journal.ts';
import { isBehind } from '../store/journal-reader.ts';
import { readClaims } from '../store/owner.ts';
import type { Store } from '../store/port.ts';
import type { Cell } from './cell.ts';
import { sealedOpener } from './sealed-parts.ts';

/** Writers that are looked at at once. */
const LOOKS_AHEAD = 8;

/**
 * Takes in what any writer's journal holds beyond the registry's heads. Throws TM1212 where a chain is shorter than its
 * head, or is no longer the one that was taken in; with `onDamage` it goes on with the next writer. Taking in reads
 * packs: `keepingPacks` holds the store's lock for that, before the writer's as everybody does.
 */
export async function rollForward(
  cell: Cell,
  keepingPacks: (work: () => Promise<void>) => Promise<void>,
  onDamage: ((error: TmError) => void) | undefined,
): Promise<void> {
  const { journal } = cell.registry;
  const heads = new Map((await journal.heads()).map((head) => [head.writer, head]));
  const looked = lookAhead(cell.store, [...heads.values()]);
  for (const writer of new Set([...heads.keys(), ...(await listWriters(cell.store))])) {
    try {
      if (!(await (looked.get(writer) ?? isBehind(cell.store, writer, heads.get(writer))))) continue;
      await keepingPacks(() =>
        journal.withWriter(writer, async () => void (await rollWriterForward(cell, writer))),
      );
    } catch (error) {
      if (!onDamage || !isDamage(error)) throw error;
      onDamage(error);
    }
  }
}

/** Looks at the first writers while all are listed: over a network each look takes its time. */
function lookAhead(store: Store, heads: readonly JournalHead[]): Map<string, Promise<boolean>> {
  const looks = heads
    .slice(0, LOOKS_AHEAD)
    .map((head) => [head.writer, isBehind(store, head.writer, head)] as const);
  for (const [, look] of looks) look.catch(() => {}); // told where it is waited for
  return new Map(looks);
}

/** One writer's; call it under `withWriter`. */
export async function rollWriterForward(cell: Cell, writer: string): Promise<JournalHead | undefined> {
  const { journal } = cell.registry;
  let head = (await journal.heads()).find((one) => one.writer === writer);
  for await (const object of readJournal(cell.store, writer, head)) {
    head = { writer, number: object.number, chain: object.chain };
    const decisions = decisionsOf(object, (await readClaims(cell.store)).owners);
    if (decisions.length > 0) await commitAll(cell.registry, object, undefined);
    for (const decision of decisions) await apply(cell, object, decision);
    await journal.setHead(head);
  }
  return head;
}

async function sourceByUid(cell: Cell, uid: string): Promise<SourceRow> {
  const source = await cell.registry.catalogue.source({ uid });
  if (!source) throw new TmError('TM1212', `a record names source ${uid}, which no earlier one made`);
  return source;
}

interface Tagged {
  readonly tags: Readonly<Record<string, string>>;
}

/** Takes one decision into the registry; the journal's head stays, since others of the object follow. Idempotent. */
async function apply(cell: Cell, object: JournalObject, { record, sealed }: Decision): Promise<void> {
  const { backups } = cell.registry;
  const open = async <T>(domain: string): Promise<T> =>
    sealedOpener(await runSource(cell, domain))<T>(sealed!);
  if (record.kind === 'source') {
    // who died before the row was made has opened nothing: the next one makes the source anew
    if (!cell.readsBack) return;
    const secret = await open<SourceSecret>(record.domain);
    const [root, key] = [Buffer.from(secret.root, 'base64'), Buffer.from(secret.key, 'base64')];
    const { agent, agentUid } = secret;
    await backups.ensureSource({ uid: record.uid, agent, agentUid, root, key, domain: record.domain });
  } else if (record.kind === 'commit') {
    await applyCommit(cell, object, record, async (domain) =>
      sealed ? (await open<Tagged>(domain)).tags : {},
    );
  } else if (record.kind === 'damage') {
    await distrustPacks(cell.registry, record.domain, record.packs);
    await distrustBlocks(
      cell.registry,
      record.domain,
      record.blocks.map((id) => Buffer.from(id, 'hex')),
    );
  } else if (record.kind === 'policy') {
    await applyPolicy(cell, record.source, (domain) => open<SealedPolicy>(domain));
  } else if (record.kind === 'promotion') {
    const source = await sourceByUid(cell, record.source);
    await backups.restoreSource({ ...source, baseline: record.sourceSeq }, 1);
  } else if (record.kind === 'expiry' || record.kind === 'pin' || record.kind === 'tag') {
    const source = await sourceByUid(cell, record.source);
    const all = await backups.list({ sourceId: source.id, all: true });
    const idOf = (seq: number) => all.find((one) => one.seq === seq)?.id;
    if (record.kind === 'expiry') {
      const going = all.filter(({ seq }) => record.sourceSeqs.includes(seq));
      const ids = going.map(({ id }) => id);
      await backups.expire(ids, undefined, expiredEvents(going), object.time);
    } else {
      const id = idOf(record.sourceSeq);
      if (id && record.kind === 'pin') await backups.setPinned(id, record.pinned, undefined);
      if (id && record.kind === 'tag')
        await backups.setTags(id, (await open<Tagged>(source.domain)).tags, undefined);
    }
  }
}

/**
 * Services can't open it: who decided has died before anybody was told, and the policy is as it was. A source that the
 * registry does not know was not made by whoever died, or belongs to another domain.
 */
async function applyPolicy(
  cell: Cell,
  uid: string | undefined,
  open: (domain: string) => Promise<SealedPolicy>,
): Promise<void> {
  const source = uid === undefined ? undefined : await cell.registry.catalogue.source({ uid });
  if (!source || !cell.readsBack) return;
  await storePolicy(cell.registry, source.id, (await open(source.domain)).policy);
}

const packDeps = ({ registry, store, onStatus }: Cell, domain: string) => ({
  registry,
  store,
  domains: new Set([domain]),
  onFinding: ({ message }: { message: string }) => onStatus(message),
});

async function runSource(cell: Cell, domain: string) {
  const { ring, domainId } = await cell.readingKeys(domain);
  return { store: cell.store, ring, domainId };
}

/** A commit that the registry lacks wholly (it was restored from a copy): its packs, then its entries from its runs. */
async function applyCommit(
  cell: Cell,
  object: JournalObject,
  record: Commit,
  tags: (domain: string) => Promise<Readonly<Record<string, string>>>,
): Promise<void> {
  const { registry } = cell;
  const there = await registry.backups.get(record.backupId);
  if (there?.state === 'committed' || there?.state === 'expired') return;
  const source = await sourceByUid(cell, record.source);
  const cannot = (why: string, cause?: unknown) =>
    new TmError(
      'TM1212',
      `${object.name} commits ${record.label}, which cannot be taken in: ${why}; run \`tidemark registry rebuild\``,
      { cause },
    );
  if (source.head !== record.baseSeq)
    throw cannot(`it follows backup ${record.baseSeq}, the registry is at ${source.head}`);
  for (const { id, sourceId } of await registry.backups.abandoned())
    if (sourceId === source.id && id !== record.backupId) await registry.backups.fail(id, 'TM1502', []);
  await registry.backups.withSlot(source.id, async () => {
    const known = await knownPacks(registry, source.domain);
    await takeInPacks(packDeps(cell, source.domain), (id) => !known.has(id));
    await writeEntries(cell, source, record).catch((error) => {
      throw isDamage(error) && error.code !== 'TM1404' ? cannot(error.message, error) : error;
    });
    const backup = backupOf(
      source,
      { commit: record, tags: await tags(source.domain), pinned: false },
      'committing',
    );
    await registry.backups.restoreSource({ ...source, epoch: record.epoch }, record.sourceSeq + 1);
    await registry.backups.restoreBackup(backup, []);
    await registry.backups.commit(
      commitRequestOf(backup, record, undefined, record.rootHint ?? source.rootHint),
    );
  });
}

async function writeEntries(cell: Cell, source: SourceRow, record: Commit): Promise<void> {
  const { registry } = cell;
  const base = await registry.backups.at(source.id, record.baseSeq);
  const before = {
    seq: record.baseSeq,
    runs: record.baseSeq === 0 ? [] : await registry.backups.runsOf(source.id, record.baseSeq),
    stateDigest: base?.stateDigest ?? Buffer.alloc(32),
  };
  await new SourceEntries(registry, await runSource(cell, source.domain), source).apply(before, record);
}
