import type { BackupInfo } from '../model/backup.ts';
import type { JournalHead, Registry } from '../registry/port.ts';
import type { JournalRecord } from '../store/journal-records.ts';
import { expiredEvents } from './expired-events.ts';
import { type ExpiryDecision, planExpiry, type RetentionRules } from './plan-expiry.ts';

export interface ExpiryRequest {
  readonly sourceId: number;
  readonly rules: RetentionRules;
  /** IANA name of the zone by whose clocks hours, days … are told. */
  readonly timeZone: string;
}

export interface ExpiryDeps {
  readonly registry: Registry;
  /** Makes a decision durable in the journal before its effect. */
  readonly decide: (
    records: readonly JournalRecord[],
    sections: readonly Buffer[],
    effect: (head: JournalHead) => Promise<void>,
  ) => Promise<void>;
}

/** Backups that one journal record and one transaction expire. */
const BACKUPS_A_DECISION = 1000;

/** What would be decided now; changes nothing. */
export async function planSource(
  registry: Registry,
  { sourceId, rules, timeZone }: ExpiryRequest,
): Promise<ExpiryDecision[]> {
  const source = (await registry.backups.sources()).find(({ id }) => id === sourceId)!;
  const needed = (await registry.backups.active())
    .filter((one) => one.sourceId === sourceId)
    .flatMap(({ baseSeq, baselineSeq }) => [baseSeq, baselineSeq]);
  const backups = await registry.backups.list({ sourceId });
  const { head, baseline } = source;
  const now = await registry.now();
  return planExpiry({ backups, head, baseline, needed, now }, rules, timeZone);
}

/**
 * Expires backups of one source: the decision goes into the journal, then into the registry, under the source's slot
 * (TM1501 while it is being backed up); then entries that nobody sees go, also those that a crash left over.
 */
export async function expireSource(
  request: ExpiryRequest,
  deps: ExpiryDeps,
): Promise<{ decisions: ExpiryDecision[]; droppedEntries: number }> {
  const { backups, entries } = deps.registry;
  const { sourceId } = request;
  const decisions = await backups.withSlot(sourceId, () =>
    backups.deciding(sourceId, async () => {
      const planned = await planSource(deps.registry, request);
      // Newest first: a full goes with or after the differentials that depend on it.
      const going = planned.filter(({ action }) => action === 'expire').map(({ backup }) => backup);
      going.reverse();
      for (let at = 0; at < going.length; at += BACKUPS_A_DECISION)
        await expire(sourceId, going.slice(at, at + BACKUPS_A_DECISION), deps);
      return planned;
    }),
  );
  return { decisions, droppedEntries: await entries.dropUnseen(sourceId) };
}

async function expire(
  sourceId: number,
  going: readonly BackupInfo[],
  { registry, decide }: ExpiryDeps,
): Promise<void> {
  const source = (await registry.backups.sources()).find(({ id }) => id === sourceId)!;
  const record: JournalRecord = {
    kind: 'expiry',
    source: source.uid,
    sourceSeqs: going.map(({ seq }) => seq).reverse(),
    reason: 'retention',
    epoch: source.epoch,
  };
  const ids = going.map(({ id }) => id);
  const now = await registry.now();
  await decide([record], [], (head) => registry.backups.expire(ids, head, expiredEvents(going), now));
}
