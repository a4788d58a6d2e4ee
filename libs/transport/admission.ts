import { decode } from '../contracts/wire/codec.ts';
import { headerText, type WireHeaders } from '../contracts/wire/headers.ts';
import { MAX_MESSAGE_BYTES } from '../contracts/wire/limits.ts';
import { isAuthentic } from '../contracts/wire/mac.ts';
import type { BackupState, Epoch } from '../model/backup.ts';
import { TmError } from '../model/errors.ts';
import type { Topic, Topics } from './port.ts';

/** What has to be known of a backup before a message of it is believed. */
export interface AdmittedBackup {
  readonly state: BackupState;
  readonly epoch: Epoch;
  /** 32 bytes; kept until the backup ends. */
  readonly macKey: Buffer;
}

/** The registry's view of backups, asked anew for every few messages: a state may change at any time. */
export interface Admission {
  /** Those that are known. */
  admit(backupIds: readonly string[]): Promise<ReadonlyMap<string, AdmittedBackup>>;
}

/** A record as it came. */
export interface InRecord {
  readonly headers: WireHeaders;
  readonly value: Buffer;
}

/**
 * What becomes of a record. `drop`: nothing. `dead`: the DLQ, and its backup fails where it is named. `wait`: the
 * partition is paused.
 */
export type Verdict<T extends Topic> =
  | { readonly kind: 'take'; readonly message: Topics[T] }
  | { readonly kind: 'drop'; readonly counter: 'late' | 'stale' }
  | {
      readonly kind: 'dead';
      readonly counter: 'forged' | 'poisoned';
      readonly error: TmError;
      readonly backupId: string | undefined;
    }
  | { readonly kind: 'wait'; readonly error: TmError };

/** The backup that a record says it is of. */
export const backupOf = ({ headers }: InRecord): string | undefined => headerText(headers, 'backup');

/** A delta set that comes again while its backup is being committed has the applier settle that. */
const isOpen = (topic: Topic, state: BackupState): boolean =>
  state === 'open' || state === 'sealed' || (state === 'committing' && topic === 'delta-sets');

const asTmError = (error: unknown): TmError =>
  error instanceof TmError ? error : new TmError('TM1505', String(error), { cause: error });

function read<T extends Topic>(topic: T, { headers, value }: InRecord, backupId?: string): Verdict<T> {
  try {
    if (value.length > MAX_MESSAGE_BYTES) throw new TmError('TM1511', `${value.length} bytes`);
    return { kind: 'take', message: decode(topic, headers, value) };
  } catch (cause) {
    const error = asTmError(cause);
    if (error.code === 'TM1514') return { kind: 'wait', error };
    return { kind: 'dead', counter: 'poisoned', error, backupId };
  }
}

const isSameEpoch = (a: Epoch, b: Epoch): boolean => a.generation === b.generation && a.counter === b.counter;
const isOlder = (a: Epoch, b: Epoch): boolean =>
  a.generation < b.generation || (a.generation === b.generation && a.counter < b.counter);

/** Checks a record in the order that the plan gives: backup, MAC, schema version, form, epoch. */
export function judge<T extends Topic>(
  topic: T,
  record: InRecord,
  backup: AdmittedBackup | undefined,
): Verdict<T> {
  if (topic === 'commits') return read(topic, record);
  const backupId = backupOf(record);
  if (backupId !== undefined && (!backup || !isOpen(topic, backup.state)))
    return { kind: 'drop', counter: 'late' };
  if (!backup || !isAuthentic(topic, record.headers, record.value, backup.macKey)) {
    const error = new TmError('TM1510', backupId ?? 'no backup is named');
    return { kind: 'dead', counter: 'forged', error, backupId: undefined };
  }
  const verdict = read(topic, record, backupId);
  if (verdict.kind !== 'take') return verdict;
  const { epoch } = (verdict.message as Topics['change-events']).header;
  if (isSameEpoch(epoch, backup.epoch)) return verdict;
  if (isOlder(epoch, backup.epoch)) return { kind: 'drop', counter: 'stale' };
  const error = new TmError('TM1505', `epoch ${epoch.generation}.${epoch.counter} is not there yet`);
  return { kind: 'dead', counter: 'poisoned', error, backupId };
}
