import { spawn } from 'node:child_process';
import { accessSync, constants, writeSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { LOCK_EX } from '../../posix/index.ts';
import { readText } from './files.ts';
import type { Layout } from './layout.ts';
import { Lock } from './lock.ts';
import type { Place } from './place.ts';

/**
 * Stops the server once nobody has held the lease for $1 seconds; $2… is a command like flock(1). It waits in
 * the kernel and in `sleep`, never polls. The lease's mtime tells of commands that came and went meanwhile.
 * Working directory: the place, so that a renamed home does no harm.
 * Descriptors: 3 supervisor lock (held; its children must not keep it), 4 lease, 5 server lock.
 * The lease is kept until the server is down: a command that comes late waits, then starts it anew.
 * /bin/sh and flock take 0.5 MB (3.4 MB resident); an idle node took 19-40 MB (42 MB resident).
 */
const PID_WIDTH = 10;
const SCRIPT = `
idle=$1; shift
printf %${PID_WIDTH}s "$$" >&3 || exit 1
while :; do
  "$@" 4 3>&- 5>&- || exit 1
  touch /proc/self/fd/3 4>&- 5>&-
  "$@" -u 4 3>&- 5>&-
  sleep "$idle" 3>&- 4>&- 5>&-
  "$@" -n 4 3>&- 5>&- || continue
  [ /proc/self/fd/4 -nt /proc/self/fd/3 ] || break
  "$@" -u 4 3>&- 5>&-
done
"$@" -n 5 3>&- 4>&- && exit
read -r pid <data/postmaster.pid && read -r name <"/proc/$pid/comm" && [ "$name" = postgres ] || exit 1
kill -INT "$pid"
"$@" 5 3>&- 4>&-
`;

const DEFAULT_PATH = '/usr/sbin:/usr/bin:/sbin:/bin';

/** Starts a supervisor unless one is alive. It outlives this process and its terminal. */
export function ensureSupervisor(layout: Layout, place: Place, idleSeconds: number): void {
  const own = new Lock(layout.supervisorLock);
  try {
    if (own.tryTake(LOCK_EX)) spawnSupervisor(own, layout, place, idleSeconds);
  } finally {
    own.close();
  }
}

/**
 * The supervisor writes its pid into the lock's file, always at the same place so that a full disk can't prevent
 * it. Blank while the lock is held but the pid not yet known.
 */
function spawnSupervisor(own: Lock, layout: Layout, place: Place, idleSeconds: number): void {
  writeSync(own.fd, ' '.repeat(PID_WIDTH), 0);
  const locks = [new Lock(layout.lease), new Lock(layout.serverLock)];
  try {
    const path = process.env.PATH || DEFAULT_PATH;
    const args = ['-c', SCRIPT, 'tidemark-postgres-supervisor', String(idleSeconds), ...flockCommand(path)];
    const child = spawn('/bin/sh', args, {
      cwd: place.dir,
      env: { PATH: path },
      detached: true,
      stdio: ['ignore', 'ignore', 'ignore', own.fd, ...locks.map((lock) => lock.fd)],
    });
    child.on('error', () => {});
    child.unref();
  } finally {
    for (const lock of locks) lock.close();
  }
}

/** flock(1) of util-linux or busybox; a system without it gets the same from Node, at 40 MB. */
function flockCommand(path: string): string[] {
  const found = path
    .split(delimiter)
    .map((dir) => join(dir, 'flock'))
    .find(isExecutable);
  if (found !== undefined) return [found];
  const script = import.meta.url.endsWith('.ts') ? './flock.ts' : './flock.js';
  return [process.execPath, fileURLToPath(new URL(script, import.meta.url))];
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Ends the supervisor and its children, if there is one. For holders of the start lock. */
export async function endSupervisor(layout: Layout): Promise<void> {
  const lock = new Lock(layout.supervisorLock);
  try {
    while (!lock.tryTake(LOCK_EX)) {
      const pid = Number(readText(layout.supervisorLock));
      if (pid > 0) killGroup(pid);
      await wait(5);
    }
  } finally {
    lock.close();
  }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGTERM');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
