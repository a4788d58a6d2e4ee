import { TmError } from '../model/errors.ts';
import type { SourceRow } from '../registry/port.ts';
import type { JournalObject, JournalRecord, JournalRecordOf } from '../store/journal.ts';
import type { Engine } from './engine.ts';
import { openSealed } from './sealed-parts.ts';

/** Takes a journal object's decisions into the registry, in order, and moves the head. Every effect is idempotent. */
export async function applyJournalObject(engine: Engine, object: JournalObject): Promise<void> {
  const head = { writer: object.writer, number: object.number, chain: object.chain };
  for (const record of object.records) await applyRecord(engine, object, record);
  await engine.registry.journal.setHead(head);
}

async function sourceByUid(engine: Engine, uid: string): Promise<SourceRow> {
  const source = (await engine.registry.backups.sources()).find((one) => one.uid === uid);
  if (!source) throw new TmError('TM1212', `a record names source ${uid}, which no earlier one made`);
  return source;
}

async function applyRecord(engine: Engine, object: JournalObject, record: JournalRecord): Promise<void> {
  const head = { writer: object.writer, number: object.number, chain: object.chain };
  const { backups } = engine.registry;
  if (record.kind === 'source') {
    const secret = await openSealed<{ root: string; agent: string; key: string }>(
      engine,
      object,
      record.sealed,
    );
    const [root, key] = [Buffer.from(secret.root, 'base64'), Buffer.from(secret.key, 'base64')];
    await backups.ensureSource({ uid: record.uid, agent: secret.agent, root, key, domain: record.domain });
  } else if (record.kind === 'commit') {
    await applyCommit(engine, object, record);
  } else if (record.kind === 'expiry' || record.kind === 'pin' || record.kind === 'tag') {
    const source = await sourceByUid(engine, record.source);
    const all = await backups.list({ sourceId: source.id, all: true });
    const idOf = (seq: number) => all.find((one) => one.seq === seq)?.id;
    if (record.kind === 'expiry') {
      await backups.expire(
        record.sourceSeqs.map(idOf).filter((id) => id !== undefined),
        head,
        [],
        object.time,
      );
    } else {
      const id = idOf(record.sourceSeq);
      if (id && record.kind === 'pin') await backups.setPinned(id, record.pinned, head);
      if (id && record.kind === 'tag')
        await backups.setTags(
          id,
          (await openSealed<{ tags: Record<string, string> }>(engine, object, record.sealed)).tags,
          head,
        );
    }
  }
}

/** A commit whose registry transaction did not happen: its rows are there, ahead of the commit. */
async function applyCommit(
  engine: Engine,
  object: JournalObject,
  record: JournalRecordOf<'commit'>,
): Promise<void> {
  const { backups } = engine.registry;
  const backup = await backups.get(record.backupId);
  if (backup?.state === 'committed' || backup?.state === 'expired') return;
  if (backup?.state !== 'committing') {
    throw new TmError(
      'TM1212',
      `${object.name} commits ${record.label}, which the registry lacks; run \`tidemark registry rebuild\``,
    );
  }
  const data = { backupId: backup.id, seq: backup.seq, kind: backup.kind, label: backup.label };
  await backups.commit({
    backupId: backup.id,
    epoch: record.epoch,
    stateDigest: Buffer.from(record.stateDigest, 'hex'),
    counts: record.counts,
    readFrom: new Date(record.readFrom),
    readTo: new Date(record.readTo),
    runs: record.runs,
    journal: { writer: object.writer, number: object.number, chain: object.chain },
    committedAt: new Date(record.time),
    rootHint: undefined,
    events: [{ type: 'backup.committed', data }],
  });
}
