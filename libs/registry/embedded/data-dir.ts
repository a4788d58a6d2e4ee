import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { TmError } from '../../model/errors.ts';
import { exists, fsyncPath, isRoot, readText, writeDurably } from './files.ts';
import type { Layout } from './layout.ts';
import type { Owner, Place } from './place.ts';
import { type RunOptions, run } from './run.ts';
import type { ServerLog } from './server-log.ts';

export const USER = 'tidemark';
export const DATABASE = 'tidemark';

/** The data directory was made by another major version of Postgres: rebuild it from the store. */
export class OldDataDirectory extends TmError {
  readonly major: number;

  constructor(major: number, wanted: number) {
    super('TM1302', `the data directory is of Postgres ${major}, not ${wanted}; rebuild it from the store`);
    this.major = major;
  }
}

/** Undefined where there is no data directory. */
export function majorOf(data: string): number | undefined {
  const text = readText(join(data, 'PG_VERSION'));
  return text === undefined ? undefined : Number.parseInt(text, 10);
}

/** Everything that touches the data directory while no server runs on it. */
export interface Tools {
  readonly bin: string;
  readonly log: ServerLog;
  /** The start lock: inherited by initdb, so that nobody clears its half-made directory while it is alive. */
  readonly lock: number;
}

/** Makes the data directory with user and database, all or nothing, unless it is there. */
export async function ensureDataDir(layout: Layout, place: Place, tools: Tools): Promise<void> {
  const secretKnown = exists(layout.secret);
  if (!secretKnown) writeDurably(layout.secret, randomBytes(32).toString('base64url'));
  if (exists(place.data)) {
    if (!secretKnown) await setPassword(layout, place, tools);
    return;
  }
  const staging = mkdtempSync(join(place.dir, 'staging-data-'));
  chmodSync(staging, 0o711);
  const data = join(staging, 'data');
  mkdirSync(data, { mode: 0o700 });
  give(data, place.owner);
  await initialise(data, staging, layout, place, tools);
  renameSync(data, place.data);
  fsyncPath(place.dir);
  rmSync(staging, { recursive: true });
}

async function initialise(
  data: string,
  staging: string,
  layout: Layout,
  place: Place,
  tools: Tools,
): Promise<void> {
  const passwordFile = join(staging, 'password');
  writeFileSync(passwordFile, readText(layout.secret)!, { mode: 0o600 });
  give(passwordFile, place.owner);
  const args = ['-D', data, '-U', USER, `--pwfile=${passwordFile}`, '--auth=password', '--encoding=UTF8'];
  // The socket is the server's user's alone, so that proving the password without showing it gains nothing, and costs each
  // connection milliseconds; nor does making guesses slow, since it is 256 random bits.
  args.push('--set=scram_iterations=1');
  args.push('--locale=C', '--data-checksums', '--no-instructions');
  await runTool('initdb', args, 'cannot make the data directory', place.owner, tools);
  rmSync(passwordFile);
  await singleUser(data, `ALTER DATABASE postgres RENAME TO ${DATABASE}`, place.owner, tools);
}

/** The secret was lost: the data is ours all the same, so it gets the new one. */
const setPassword = (layout: Layout, place: Place, tools: Tools): Promise<void> =>
  singleUser(place.data, `ALTER ROLE ${USER} PASSWORD '${readText(layout.secret)}'`, place.owner, tools);

function singleUser(data: string, sql: string, owner: Owner, tools: Tools): Promise<void> {
  const args = ['--single', '-D', data, '-c', 'exit_on_error=on', '-c', 'log_checkpoints=off', 'template1'];
  return runTool('postgres', args, 'cannot prepare the data directory', owner, tools, { input: `${sql}\n` });
}

async function runTool(
  tool: string,
  args: string[],
  failure: string,
  owner: Owner,
  tools: Tools,
  extra: Pick<RunOptions, 'input'> = {},
): Promise<void> {
  const options = { owner, lock: tools.lock, ...extra };
  const { code, said } = await run(join(tools.bin, 'bin', tool), args, options);
  tools.log.append(said);
  if (code !== 0) throw tools.log.failure(failure, said);
}

const give = (path: string, owner: Owner): void => {
  if (isRoot()) chownSync(path, owner.uid, owner.gid);
};

/** Removes what interrupted installs left. For holders of the start lock. */
export function clearStaging(place: Place): void {
  if (!exists(place.dir)) return;
  for (const name of readdirSync(place.dir)) {
    if (name.startsWith('staging-')) rmSync(join(place.dir, name), { recursive: true, force: true });
  }
}
