import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { TmError } from '../../model/errors.ts';
import { type BinaryPackage, installBinaries } from './binaries.ts';
import { clearStaging, ensureDataDir } from './data-dir.ts';
import { exists } from './files.ts';
import type { Layout } from './layout.ts';
import type { Lock } from './lock.ts';
import { choosePlace, findPlace, type Place } from './place.ts';
import { readPostmasterFile } from './postmaster.ts';
import { asOwner } from './run.ts';
import { ServerLog } from './server-log.ts';
import { serverArguments } from './settings.ts';
import { prepareSocketDir } from './socket-dir.ts';
import { ensureSupervisor } from './supervisor.ts';

export interface StartOptions {
  readonly layout: Layout;
  readonly binaries: BinaryPackage;
  readonly idleSeconds: number;
  readonly onStatus: (text: string) => void;
}

/**
 * Installs what is missing, starts the server and waits until it takes connections. Needs both locks, held.
 * The supervisor comes first: a server without one would outlive a command that dies right here.
 */
export async function startServer(options: StartOptions, startLock: Lock, serverLock: Lock): Promise<void> {
  const { layout, binaries } = options;
  const log = new ServerLog(layout);
  try {
    const fresh = !exists(findPlace(layout).data);
    if (fresh) announceSetUp(options);
    const place = fresh ? await choosePlace(layout) : findPlace(layout);
    const bin = await setUp(layout, place, binaries, log, startLock);
    ensureSupervisor(layout, place, options.idleSeconds);
    await launch(join(bin, 'bin/postgres'), options, place, serverLock, log);
  } finally {
    log.close();
  }
}

/** Binaries and data directory, made if missing; nothing half-made stays, be it of this attempt or an earlier one. */
async function setUp(layout: Layout, place: Place, binaries: BinaryPackage, log: ServerLog, startLock: Lock) {
  clearStaging(place);
  try {
    const bin = installBinaries(binaries, place);
    await ensureDataDir(layout, place, { bin, log, lock: startLock.fd });
    return bin;
  } catch (error) {
    clearStaging(place);
    throw error;
  }
}

/** initdb hands its own path to a shell, within double quotes. */
const MISREAD_BY_INITDB = /["$`\\\n]/;

function announceSetUp({ layout, onStatus }: StartOptions): void {
  if (MISREAD_BY_INITDB.test(layout.home)) {
    throw new TmError('TM1010', `Postgres can't be set up in a path with " $ \` \\: ${layout.home}`);
  }
  onStatus('setting up the registry, once; this takes some seconds');
}

/**
 * A session of its own keeps Ctrl-C away from the server. Holding the server lock proves that a pid in an old
 * postmaster.pid is not a server of ours; told as "grandparent", Postgres believes it too and still makes its
 * own check for shared memory in use. A file that names nobody would stop it, too, and says nothing.
 */
async function launch(program: string, options: StartOptions, place: Place, lock: Lock, log: ServerLog) {
  const socketDir = prepareSocketDir(options.layout, place);
  const stale = readPostmasterFile(place.data)?.pid;
  if (stale === undefined) rmSync(join(place.data, 'postmaster.pid'), { force: true });
  const child = spawn(program, serverArguments(place.data, socketDir), {
    ...asOwner(place.owner, stale === undefined ? {} : { PG_GRANDPARENT_PID: String(stale) }),
    detached: true,
    stdio: ['ignore', log.fd, log.fd, lock.fd],
  });
  let ended: { cause?: unknown } | undefined;
  child.once('error', (cause) => {
    ended = { cause };
  });
  child.once('exit', () => {
    ended ??= {};
  });
  const slow = setTimeout(() => options.onStatus('Waiting for the registry to start'), 1_000);
  try {
    for (let delay = 1; !isReady(place, child.pid); delay = Math.min(delay * 1.5, 50)) {
      if (ended) throw log.failure(`cannot run ${program}`, log.sinceOpened(), ended.cause);
      await wait(delay);
    }
  } finally {
    clearTimeout(slow);
    child.unref();
  }
}

function isReady(place: Place, pid: number | undefined): boolean {
  const file = readPostmasterFile(place.data);
  return file !== undefined && file.pid === pid && file.status === 'ready';
}
