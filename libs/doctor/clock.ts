import { type Finding, ok, warning } from './finding.ts';

export interface ClockFacts {
  readonly now: Date;
  /** Postgres' clock at that moment. */
  readonly postgres: Date | undefined;
  readonly lastBackup: Date | undefined;
}

const SKEW_MS = 5_000;
const EARLIEST = new Date('2026-01-01T00:00:00Z');
const GUIDANCE = 'Set the clock, and let it be kept right (chrony, systemd-timesyncd).';

export function checkClock({ now, postgres, lastBackup }: ClockFacts): Finding[] {
  const findings = [past(now, lastBackup)];
  if (postgres) findings.push(skew(now, postgres));
  return findings;
}

function past(now: Date, lastBackup: Date | undefined): Finding {
  if (now < EARLIEST) return warning('clock', `it says ${now.toISOString()}, which is past`, GUIDANCE);
  if (lastBackup && now < lastBackup) {
    const text = `it says ${now.toISOString()}, but the last backup was made at ${lastBackup.toISOString()}`;
    return warning('clock', text, `${GUIDANCE} Backups go by their own numbers and stay in order.`);
  }
  return ok('clock', now.toISOString());
}

function skew(now: Date, postgres: Date): Finding {
  const milliseconds = Math.abs(now.getTime() - postgres.getTime());
  if (milliseconds <= SKEW_MS) return ok('clock-skew', 'Postgres’ clock agrees');
  return warning('clock-skew', `Postgres’ clock differs by ${Math.round(milliseconds / 1000)} s`, GUIDANCE);
}
