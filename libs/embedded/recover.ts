import type { BackupInfo } from '../model/backup.ts';
import { TmError } from '../model/errors.ts';
import {
  type JournalObject,
  type JournalRecordOf,
  JournalWriter,
  readJournal,
  readJournalObject,
} from '../store/journal.ts';
import type { Engine } from './engine.ts';
import { publishOutbox } from './outbox.ts';
import { applyJournalObject } from './roll-forward.ts';

/**
 * Settles what a crash left: a backup that was committing is committed when its journal object exists, else a void
 * object takes its number and it fails; journal objects that the registry has not taken in are rolled forward.
 */
export async function recover(engine: Engine): Promise<void> {
  const { registry, home } = engine;
  const abandoned = await registry.backups.abandoned();
  for (const backup of abandoned) {
    if (backup.state === 'committing' && backup.journal)
      await registry.backups.withSlot(backup.sourceId, () => settle(engine, backup));
  }
  await registry.journal.withWriter(home.writer, async () => {
    const head = (await registry.journal.heads()).find((one) => one.writer === home.writer);
    for await (const object of readJournal(engine.store, home.writer, head))
      await applyJournalObject(engine, object);
  });
  if (abandoned.length > 0) await publishOutbox(engine);
}

async function settle(
  engine: Engine,
  { id, label, journal }: BackupInfo & { journal: { writer: string; number: number } | undefined },
): Promise<void> {
  const { registry, store } = engine;
  const now = await registry.backups.get(id);
  if (now?.state !== 'committing') return;
  await registry.journal.withWriter(journal!.writer, async () => {
    const object = await commitObject(engine, journal!);
    const record = object && commitOf(object, id);
    if (record) {
      await applyJournalObject(engine, object);
      return;
    }
    const head = (await registry.journal.heads()).find((one) => one.writer === journal!.writer);
    if (!object && (head?.number ?? 0) < journal!.number) {
      const writer = new JournalWriter(store, {
        writer: journal!.writer,
        head,
        ownerGeneration: engine.storeRow.ownerGeneration,
        now: () => new Date(),
      });
      await writer.putVoid(journal!.number);
    }
    await registry.backups.fail(id, 'TM1502', [
      { type: 'backup.failed', data: { backupId: id, label, code: 'TM1502' } },
    ]);
  });
}

async function commitObject(
  engine: Engine,
  { writer, number }: { writer: string; number: number },
): Promise<JournalObject | undefined> {
  try {
    return await readJournalObject(engine.store, writer, number);
  } catch (error) {
    if (error instanceof TmError && error.code === 'TM1205') return undefined;
    throw error;
  }
}

const commitOf = (object: JournalObject, backupId: string): JournalRecordOf<'commit'> | undefined =>
  object.records.find(
    (record): record is JournalRecordOf<'commit'> => record.kind === 'commit' && record.backupId === backupId,
  );
