import { readFileSync } from 'node:fs';
import { Coverage } from './coverage.ts';
import { decodeRecords } from './ledger-format.ts';
import { endFromOutside, withGapOfDamage } from './repair-ledger.ts';

/** So long after its last sign of life (one comes every half a minute) a watch counts as ended from outside. */
const SILENCE_MS = 90_000;

/**
 * What a ledger says, while another process may be writing it; nothing is written. Undefined where there is none. Damage,
 * and a watch that ended from outside, are gaps as they will be for who opens it next. Milliseconds since 1970.
 */
export function readCoverage(path: string, now: number): Coverage | undefined {
  const bytes = readIfThere(path);
  if (!bytes) return undefined;
  const { records, isDamaged } = decodeRecords(bytes);
  const coverage = new Coverage(isDamaged ? withGapOfDamage(records, now) : records);
  if (now - (coverage.lastSign ?? now) > SILENCE_MS)
    for (const record of endFromOutside(coverage, now)) coverage.add(record);
  return coverage;
}

function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
