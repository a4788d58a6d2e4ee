import { Coverage } from './coverage.ts';
import type { LedgerRecord } from './ledger-format.ts';

/** Lines are missing that may have told of a gap: there is one for all of them. */
export function withGapOfDamage(records: readonly LedgerRecord[], now: number): LedgerRecord[] {
  const gap = new Coverage(records).nextGap;
  const at = records.reduce((first, record) => Math.min(first, record.at), records[0]?.at ?? now);
  return [...records, { type: 'opened', at, gap, reason: 'ledger-damaged' }];
}

/** What has to be said of a watch that ran and never stopped: it ended with its last sign of life, and a gap is open. */
export function endFromOutside({ isRunning, lastSign, nextGap }: Coverage, now: number): LedgerRecord[] {
  if (!isRunning || lastSign === undefined) return [];
  return [
    { type: 'stopped', at: lastSign },
    { type: 'opened', at: Math.min(lastSign, now), gap: nextGap, reason: 'agent-down' },
  ];
}
