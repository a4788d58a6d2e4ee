import { TmError } from '../model/errors.ts';
import { type Finding, failed, failedBy, ok, warning } from './finding.ts';

export interface IdentityFacts {
  readonly file: string;
  /** Named by --identity, not the home's own. */
  readonly isNamed: boolean;
  readonly isThere: boolean;
  /** Permission bits. */
  readonly mode: number | undefined;
  /** There is a store that it should open. */
  readonly hasStore: boolean;
  /** What opening the store with it threw; undefined when it opened it. */
  readonly failure: unknown;
}

export function checkIdentity(facts: IdentityFacts): Finding[] {
  const { file, hasStore, isThere } = facts;
  if (!isThere) return [missing(facts)];
  const mode = facts.mode ?? 0;
  if ((mode & 0o077) !== 0) {
    const text = `${file} may be read by others (mode ${mode.toString(8)})`;
    return [failed('identity', text, `chmod 600 ${file}; whoever may have read it can read the backups.`)];
  }
  if (!hasStore) return [ok('identity', `${file} is there; there is no store to try it on`)];
  if (facts.failure !== undefined) return [failedBy('identity', facts.failure)];
  return [ok('identity', `${file} opens the store; keep a copy of it elsewhere too`)];
}

function missing({ file, isNamed, hasStore }: IdentityFacts): Finding {
  if (isNamed) return failedBy('identity', new TmError('TM1402', file));
  if (!hasStore) return ok('identity', 'there is none yet; the first backup makes it');
  const guidance = `Put a copy back there, or give it with --identity FILE when you restore.`;
  return warning('identity', `${file} is not there: backups go on, but nothing can be restored`, guidance);
}
