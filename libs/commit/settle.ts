import type { BackupInfo } from '../model/backup.ts';
import { type ErrorCode, TmError } from '../model/errors.ts';
import type { JournalHead, JournalPlace, Registry } from '../registry/port.ts';
import {
  type JournalObject,
  type JournalRecordOf,
  JournalWriter,
  readJournalObject,
} from '../store/journal.ts';
import type { Store } from '../store/port.ts';
import { commitRequestOf } from './commit-request.ts';

export interface SettleDeps {
  readonly registry: Registry;
  readonly store: Store;
  readonly ownerGeneration: number;
  readonly now: () => Date;
}

/**
 * Decides a backup that is committing by what the journal holds (1-architecture, "States"): where its object exists it is
 * committed; where there is none a void takes its number and it fails with `failure`. Gives the backup as it is then;
 * one that has ended already stays, and so does one that names another place. Call it under the writer's lock of
 * `place`. Idempotent.
 */
export async function settle(
  deps: SettleDeps,
  backupId: string,
  place: JournalPlace,
  failure: ErrorCode,
): Promise<BackupInfo> {
  const { backups } = deps.registry;
  const backup = await backups.get(backupId);
  if (!backup) throw new TmError('TM1507', backupId);
  if (backup.state !== 'committing' || !isSame(await backups.placeOf(backupId), place)) return backup;
  const object = (await objectAt(deps.store, place)) ?? (await putVoid(deps, place));
  if (commitsOf(object).some((record) => record.backupId === backupId))
    await commitAll(deps.registry, object, headOf(object));
  else {
    const data = { backupId, label: backup.label, code: failure };
    await backups.fail(backupId, failure, [{ type: 'backup.failed', data }]);
  }
  return (await backups.get(backupId))!;
}

/**
 * The registry's part of every commit in the object that still lacks it; the journal's head moves to `head` with them.
 */
export async function commitAll(
  registry: Registry,
  object: JournalObject,
  head: JournalHead | undefined,
): Promise<void> {
  const { backups } = registry;
  for (const record of commitsOf(object)) {
    const backup = await backups.get(record.backupId);
    if (backup?.state !== 'committing') continue;
    const rootHint = (await backups.sealOf(backup.id))?.rootHint;
    try {
      await backups.commit(commitRequestOf(backup, record, head, rootHint));
    } catch (error) {
      // Somebody whose lock went with its session may have been first.
      if ((await backups.get(backup.id))?.state !== 'committed') throw error;
    }
  }
}

const isSame = (a: JournalPlace | undefined, b: JournalPlace): boolean =>
  a?.writer === b.writer && a.number === b.number;

const headOf = ({ writer, number, chain }: JournalObject): JournalHead => ({ writer, number, chain });

const commitsOf = (object: JournalObject): JournalRecordOf<'commit'>[] =>
  object.records.filter((record) => record.kind === 'commit');

async function objectAt(store: Store, { writer, number }: JournalPlace): Promise<JournalObject | undefined> {
  try {
    return await readJournalObject(store, writer, number);
  } catch (error) {
    if (error instanceof TmError && error.code === 'TM1205') return undefined;
    throw error;
  }
}

/** Gives the object that has the number now, and moves the registry's head over a void. */
async function putVoid(
  { registry, store, ownerGeneration, now }: SettleDeps,
  { writer, number }: JournalPlace,
): Promise<JournalObject> {
  const head = (await registry.journal.heads()).find((one) => one.writer === writer);
  const outcome = await new JournalWriter(store, { writer, head, ownerGeneration, now }).putVoid(number);
  const object = await readJournalObject(store, writer, number);
  if (outcome === 'void') await registry.journal.setHead({ writer, number, chain: object.chain });
  return object;
}
