import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { TmError } from '../../model/errors.ts';
import { LOCK_EX } from '../../posix/index.ts';
import { majorOf } from './data-dir.ts';
import { exists, fsyncPath } from './files.ts';
import { type Layout, layoutOf } from './layout.ts';
import { holding, Lock } from './lock.ts';
import { findPlace, type Place } from './place.ts';
import { signalPostmaster } from './postmaster.ts';
import { endSupervisor } from './supervisor.ts';

/** How long a server may take to stop before it is told more rudely. */
const PATIENCE_MS = 30_000;
const POLL_MS = 5;

/** Stops server and supervisor, whoever still uses them; on return both are gone. */
export async function stopEmbeddedPostgres(home: string): Promise<void> {
  const layout = layoutOf(home);
  if (exists(layout.startLock)) await whileStopped(layout, async () => {});
}

/**
 * Moves the data directory away, whatever its version, as data.old-<major>, so that the next start makes a new
 * one. Returns where it is now; undefined when there was none.
 */
export async function setAsideOldData(home: string): Promise<string | undefined> {
  const layout = layoutOf(home);
  if (!exists(layout.startLock)) return undefined;
  return whileStopped(layout, async (place) => {
    if (!exists(place.data)) return undefined;
    const base = `${place.data}.old-${majorOf(place.data) ?? 'unknown'}`;
    let target = base;
    for (let n = 2; exists(target); n++) target = `${base}.${n}`;
    renameSync(place.data, target);
    fsyncPath(join(target, '..'));
    return target;
  });
}

function whileStopped<T>(layout: Layout, work: (place: Place) => Promise<T>): Promise<T> {
  return holding(layout.startLock, LOCK_EX, async () => {
    await endSupervisor(layout);
    const place = findPlace(layout);
    const serverLock = new Lock(layout.serverLock);
    try {
      await takeFromServer(serverLock, place);
      return await work(place);
    } finally {
      serverLock.close();
    }
  });
}

/** Takes the server lock, ending the server that holds it: by a fast shutdown, else by an immediate one. */
export async function takeFromServer(lock: Lock, place: Place): Promise<void> {
  for (const signal of ['SIGINT', 'SIGQUIT'] as const) {
    let told = false;
    for (const start = performance.now(); performance.now() - start < PATIENCE_MS; await wait(POLL_MS)) {
      if (lock.tryTake(LOCK_EX)) return;
      if (!told) told = signalPostmaster(place.data, signal);
    }
  }
  throw new TmError('TM1302', `processes of an earlier server do not end (data directory: ${place.data})`);
}
