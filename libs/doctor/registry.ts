import { TmError } from '../model/errors.ts';
import { type Finding, failed, failedBy, ok, warning } from './finding.ts';

/** What a Postgres said of itself. */
export interface PostgresFacts {
  /** As server_version_num: 180004 for 18.4. */
  readonly version: number;
  /** Tidemark's tables are there. */
  readonly hasTables: boolean;
  readonly mayCreateTables: boolean;
}

export interface RegistryFacts {
  readonly kind: 'own' | 'embedded';
  /** Version of the embedded binaries for this platform; undefined where there are none. */
  readonly binaries: string | undefined;
  /** There is an embedded data directory. */
  readonly isInstalled: boolean;
  readonly logFile: string | undefined;
  readonly postgres: PostgresFacts | undefined;
  /** What starting or asking it threw. */
  readonly failure: unknown;
}

const OLDEST = 150_000;

export function checkRegistry(facts: RegistryFacts): Finding[] {
  const findings = facts.kind === 'embedded' ? [binaries(facts)] : [];
  if (facts.failure !== undefined) findings.push(failedBy('registry', facts.failure));
  else if (facts.postgres) findings.push(version(facts, facts.postgres), tables(facts.postgres));
  else if (!facts.isInstalled) findings.push(ok('registry', 'there is none yet; the first backup makes it'));
  return findings;
}

function binaries({ binaries: is }: RegistryFacts): Finding {
  if (is !== undefined) return ok('postgres-binaries', `the embedded Postgres is version ${is}`);
  return failedBy('postgres-binaries', new TmError('TM1305'));
}

function version({ kind, logFile }: RegistryFacts, { version: number }: PostgresFacts): Finding {
  const text = `Postgres ${Math.floor(number / 10_000)}.${number % 10_000}`;
  if (number < OLDEST) {
    return failed('registry', `${text} is too old`, 'Use a Postgres of version 15 or newer.');
  }
  return ok(
    'registry',
    kind === 'own' ? `${text} answers` : `the embedded ${text} answers (log: ${logFile})`,
  );
}

function tables({ hasTables, mayCreateTables }: PostgresFacts): Finding {
  if (mayCreateTables)
    return ok('registry-tables', hasTables ? 'Tidemark’s tables are there' : 'tables may be created');
  const guidance = 'GRANT CREATE, USAGE ON SCHEMA public TO the user of TIDEMARK_REGISTRY_URL.';
  if (hasTables) {
    const text = 'Tidemark’s tables are there, but the user may not create tables: upgrades will fail';
    return warning('registry-tables', text, guidance);
  }
  return failed('registry-tables', 'the user may not create tables', guidance);
}
