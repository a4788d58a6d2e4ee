import { commitRequestOf } from '../commit/commit-request.ts';
import { commitAll } from '../commit/settle.ts';
import { TmError } from '../model/errors.ts';
import { isDamage } from '../rebuild/damage.ts';
import { type Decision, decisionsOf } from '../rebuild/decisions.ts';
import type { Commit, SourceSecret } from '../rebuild/history.ts';
import { backupOf } from '../rebuild/rebuild-registry.ts';
import { SourceEntries } from '../rebuild/source-entries.ts';
import { distrustBlocks, distrustPacks, knownPacks, takeInPacks } from '../rebuild/take-in-packs.ts';
import type { JournalHead, SourceRow } from '../registry/port.ts';
import { expiredEvents } from '../retain/expired-events.ts';
import { type JournalObject, listWriters, readJournal } from '../store/journal.ts';
import { isBehind } from '../store/journal-reader.ts';
import { readClaims } from '../store/owner.ts';
import type { Engine } from './engine.ts';
import { readingKeys } from './reading-keys.ts';
import { sealedOpener } from './sealed-parts.ts';

/**
 * Takes in what any writer's journal holds beyond the registry's heads. Throws TM1212 where a chain is shorter than its
 * head, or is no longer the one that was taken in; with `onDamage` it goes on with the next writer. Taking in reads
 * packs: `keepingPacks` holds the store's lock for that, before the writer's as everybody does.
 */
export async function rollForward(
  engine: Engine,
  keepingPacks: (work: () => Promise<void>) => Promise<void>,
  onDamage: ((error: TmError) => void) | undefined,
): Promise<void> {
  const { journal } = engine.registry;
  const heads = new Map((await journal.heads()).map((head) => [head.writer, head]));
  for (const writer of new Set([...heads.keys(), ...(await listWriters(engine.store))])) {
    try {
      if (!(await isBehind(engine.store, writer, heads.get(writer)))) continue;
      await keepingPacks(() =>
        journal.withWriter(writer, async () => void (await rollWriterForward(engine, writer))),
      );
    } catch (error) {
      if (!onDamage || !isDamage(error)) throw error;
      onDamage(error);
    }
  }
}

/** One writer's; call it under `withWriter`. */
export async function rollWriterForward(engine: Engine, writer: string): Promise<JournalHead | undefined> {
  const { journal } = engine.registry;
  let head = (await journal.heads()).find((one) => one.writer === writer);
  for await (const object of readJournal(engine.store, writer, head)) {
    head = { writer, number: object.number, chain: object.chain };
    const decisions = decisionsOf(object, (await readClaims(engine.store)).owners);
    if (decisions.length > 0) await commitAll(engine.registry, object, undefined);
    for (const decision of decisions) await apply(engine, object, decision);
    await journal.setHead(head);
  }
  return head;
}

async function sourceByUid(engine: Engine, uid: string): Promise<SourceRow> {
  const source = (await engine.registry.backups.sources()).find((one) => one.uid === uid);
  if (!source) throw new TmError('TM1212', `a record names source ${uid}, which no earlier one made`);
  return source;
}

/** Takes one decision into the registry; the journal's head stays, since others of the object follow. Idempotent. */
async function apply(engine: Engine, object: JournalObject, { record, sealed }: Decision): Promise<void> {
  const { backups } = engine.registry;
  const open = async <T>(): Promise<T> => sealedOpener(await runSource(engine))<T>(sealed!);
  if (record.kind === 'source') {
    const secret = await open<SourceSecret>();
    const [root, key] = [Buffer.from(secret.root, 'base64'), Buffer.from(secret.key, 'base64')];
    await backups.ensureSource({ uid: record.uid, agent: secret.agent, root, key, domain: record.domain });
  } else if (record.kind === 'commit') {
    const tags = sealed
      ? async () => (await open<{ tags: Record<string, string> }>()).tags
      : async () => ({});
    await applyCommit(engine, object, record, tags);
  } else if (record.kind === 'damage') {
    const deps = packDeps(engine);
    await distrustPacks(deps, record.packs);
    await distrustBlocks(
      engine.registry,
      record.domain,
      record.blocks.map((id) => Buffer.from(id, 'hex')),
    );
  } else if (record.kind === 'promotion') {
    const source = await sourceByUid(engine, record.source);
    await backups.restoreSource({ ...source, baseline: record.sourceSeq }, 1);
  } else if (record.kind === 'expiry' || record.kind === 'pin' || record.kind === 'tag') {
    const source = await sourceByUid(engine, record.source);
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
        await backups.setTags(id, (await open<{ tags: Record<string, string> }>()).tags, undefined);
    }
  }
}

const packDeps = ({ registry, store, domain, config }: Engine) => ({
  registry,
  store,
  domainId: domain.id,
  onFinding: ({ message }: { message: string }) => config.onStatus(message),
});

async function runSource(engine: Engine) {
  const { ring, domainId } = await readingKeys(engine);
  return { store: engine.store, ring, domainId };
}

/** A commit that the registry lacks wholly (it was restored from a copy): its packs, then its entries from its runs. */
async function applyCommit(
  engine: Engine,
  object: JournalObject,
  record: Commit,
  tags: () => Promise<Readonly<Record<string, string>>>,
): Promise<void> {
  const { registry } = engine;
  const there = await registry.backups.get(record.backupId);
  if (there?.state === 'committed' || there?.state === 'expired') return;
  const source = await sourceByUid(engine, record.source);
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
    const known = await knownPacks(registry, engine.domain.id);
    await takeInPacks(packDeps(engine), (id) => !known.has(id));
    await writeEntries(engine, source, record).catch((error) => {
      throw isDamage(error) && error.code !== 'TM1404' ? cannot(error.message, error) : error;
    });
    const backup = backupOf(source, { commit: record, tags: await tags(), pinned: false }, 'committing');
    await registry.backups.restoreSource({ ...source, epoch: record.epoch }, record.sourceSeq + 1);
    await registry.backups.restoreBackup(backup, []);
    await registry.backups.commit(
      commitRequestOf(backup, record, undefined, record.rootHint ?? source.rootHint),
    );
  });
}

async function writeEntries(engine: Engine, source: SourceRow, record: Commit): Promise<void> {
  const { registry } = engine;
  const base = await registry.backups.at(source.id, record.baseSeq);
  const before = {
    seq: record.baseSeq,
    runs: record.baseSeq === 0 ? [] : await registry.backups.runsOf(source.id, record.baseSeq),
    stateDigest: base?.stateDigest ?? Buffer.alloc(32),
  };
  await new SourceEntries(registry, await runSource(engine), source).apply(before, record);
}
