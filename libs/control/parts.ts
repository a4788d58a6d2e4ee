import type { Cell } from '../cell/cell.ts';
import type { Principal } from '../http/principal.ts';
import { TmError } from '../model/errors.ts';
import type { Policy } from '../schedule/policy.ts';
import type { JobQueue } from '../schedule/queue.ts';
import type { RegistryAuthenticator } from './authenticator.ts';

/** What the handlers work with. */
export interface ControlParts {
  readonly cell: Cell;
  readonly authenticator: RegistryAuthenticator;
  readonly queue: JobQueue;
  /** age recipients to which the keys of new domains are wrapped. */
  readonly recipients: readonly string[];
  /** URLs of the storage writers, for agents. */
  readonly writers: readonly string[];
  /** Of silence after which a backup's agent is taken for gone. */
  readonly leaseSeconds: number;
  /** Of enrolled agents' sources that have no policy of their own: what the scheduler goes by. */
  readonly defaultPolicy: Policy | undefined;
  /** A policy or job has changed: the scheduler should look. */
  readonly onSchedule: () => void;
}

export function agentOf({ kind, agentUid }: Principal): string {
  if (kind !== 'agent' || agentUid === undefined) throw new TmError('TM1802', 'needed: agent');
  return agentUid;
}
