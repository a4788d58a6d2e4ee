import { type StdioOptions, spawn } from 'node:child_process';
import { isRoot } from './files.ts';
import type { Owner } from './place.ts';

export interface RunOptions {
  readonly owner: Owner;
  /** Written to standard input. */
  readonly input?: string;
  /** Inherited as descriptor 3, so that a lock lives as long as the child. */
  readonly lock?: number;
}

/** None of the user's PG* variables may reach Postgres; TZ spares initdb the search for a zone. */
const BASE_ENV: NodeJS.ProcessEnv = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', TZ: 'UTC' };

/** Spawn options that make the child run as `owner`; Node drops root's supplementary groups on the way. */
export const asOwner = (owner: Owner, env: NodeJS.ProcessEnv = {}) => ({
  cwd: '/',
  env: { ...BASE_ENV, ...env },
  ...(isRoot() ? { uid: owner.uid, gid: owner.gid } : {}),
});

export interface RunResult {
  /** -1 when a signal ended the program. */
  readonly code: number;
  /** Its standard error. */
  readonly said: string;
}

/** Runs a short program to its end. Rejects when it can't be run. */
export function run(program: string, args: readonly string[], options: RunOptions): Promise<RunResult> {
  const stdio: StdioOptions = [options.input === undefined ? 'ignore' : 'pipe', 'ignore', 'pipe'];
  if (options.lock !== undefined) stdio.push(options.lock);
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { ...asOwner(options.owner), stdio });
    const said: Buffer[] = [];
    child.once('error', reject);
    child.once('close', (code) => resolve({ code: code ?? -1, said: Buffer.concat(said).toString() }));
    child.stderr?.on('data', (chunk: Buffer) => said.push(chunk));
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.input);
  });
}
