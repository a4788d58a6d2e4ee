import type { BackupInfo } from '../model/backup.ts';
import type { CommitRequest, JournalHead } from '../registry/port.ts';
import type { JournalRecordOf } from '../store/journal.ts';

/** The registry's part of a commit, from its journal record: the same whether it follows at once or after a crash. */
export function commitRequestOf(
  backup: Pick<BackupInfo, 'id' | 'seq' | 'kind' | 'label' | 'baselineSeq'>,
  record: JournalRecordOf<'commit'>,
  journal: JournalHead | undefined,
  rootHint = record.rootHint,
): CommitRequest {
  return {
    backupId: backup.id,
    epoch: record.epoch,
    stateDigest: Buffer.from(record.stateDigest, 'hex'),
    counts: record.counts,
    readFrom: new Date(record.readFrom),
    readTo: new Date(record.readTo),
    runs: record.runs,
    journal,
    committedAt: new Date(record.time),
    rootHint,
    gaps: record.gaps,
    events: eventsOf(backup, record),
  };
}

function eventsOf(
  backup: Pick<BackupInfo, 'id' | 'seq' | 'kind' | 'label' | 'baselineSeq'>,
  { counts, gaps }: JournalRecordOf<'commit'>,
): CommitRequest['events'] {
  const data = {
    backupId: backup.id,
    seq: backup.seq,
    kind: backup.kind,
    label: backup.label,
    baselineSeq: backup.baselineSeq,
    added: counts.added,
    changed: counts.changed + counts.metadata,
    deleted: counts.deleted,
    problems: counts.problems,
    ...(gaps && { gaps: gaps.join(',') }),
  };
  const committed = { type: 'backup.committed', data };
  if (backup.kind === 'differential') return [committed];
  return [committed, { type: 'baseline.promoted', data: { backupId: backup.id, seq: backup.seq } }];
}
