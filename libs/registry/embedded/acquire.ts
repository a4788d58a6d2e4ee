import { utimesSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { TmError } from '../../model/errors.ts';
import { LOCK_EX, LOCK_SH } from '../../posix/index.ts';
import { findPackage } from './binaries.ts';
import { DATABASE, majorOf, OldDataDirectory, USER } from './data-dir.ts';
import { ensureDir, exists, isRoot, readText } from './files.ts';
import { type Layout, layoutOf } from './layout.ts';
import { holding, Lock } from './lock.ts';
import { findPlace } from './place.ts';
import { readPostmasterFile } from './postmaster.ts';
import { answers, findSocketDir, PORT } from './socket-dir.ts';
import { type StartOptions, startServer } from './start.ts';
import { takeFromServer } from './stop.ts';
import { ensureSupervisor } from './supervisor.ts';

export interface EmbeddedPostgres {
  /** `host` is the directory of the server's socket. */
  readonly connection: {
    readonly host: string;
    readonly port: number;
    readonly user: string;
    readonly password: string;
    readonly database: string;
  };
  /** This process no longer needs the server. Its end, of whatever kind, does the same. */
  release(): Promise<void>;
}

export interface AcquireOptions {
  readonly home: string;
  /** Called when the wait is one that a person would notice. */
  readonly onStatus?: (text: string) => void;
  /** How long the server outlives its last user, in seconds; TIDEMARK_PG_IDLE_SECONDS overrides. Default 30. */
  readonly idleSeconds?: number;
}

const IDLE_SECONDS = 30;
const POLL_MS = 10;

/**
 * The home's server, started or even made if need be, and kept running until released. Processes that ask at
 * once get the same one. The lease is taken before looking, so that the server found can't be stopped under us.
 */
export async function acquireEmbeddedPostgres(options: AcquireOptions): Promise<EmbeddedPostgres> {
  const layout = layoutOf(options.home);
  const lease = openLease(layout);
  try {
    await lease.take(LOCK_SH);
    const now = new Date();
    utimesSync(layout.lease, now, now);
    await ensureServer({
      layout,
      binaries: findPackage(),
      idleSeconds: idleSeconds(options),
      onStatus: options.onStatus ?? (() => {}),
    });
    return handle(layout, lease);
  } catch (error) {
    lease.close();
    throw asTmError(error);
  }
}

function handle(layout: Layout, lease: Lock): EmbeddedPostgres {
  const host = findSocketDir(layout, findPlace(layout))!;
  const password = readText(layout.secret)!;
  let released = false;
  return {
    connection: { host, port: PORT, user: USER, password, database: DATABASE },
    release: async () => {
      if (!released) lease.close();
      released = true;
    },
  };
}

/** As root others may pass through to the data, which belongs to another user; nothing else is for them. */
function openLease(layout: Layout): Lock {
  try {
    for (const dir of [layout.home, layout.registry]) ensureDir(dir, isRoot() ? 0o711 : 0o700);
    return new Lock(layout.lease);
  } catch (cause) {
    throw new TmError('TM1010', (cause as Error).message, { cause, path: layout.home });
  }
}

function idleSeconds(options: AcquireOptions): number {
  const text = process.env.TIDEMARK_PG_IDLE_SECONDS;
  if (!text) return options.idleSeconds ?? IDLE_SECONDS;
  if (!/^\d{1,9}(\.\d+)?$/.test(text))
    throw new TmError('TM1002', 'TIDEMARK_PG_IDLE_SECONDS is a number of seconds');
  return Number(text);
}

async function ensureServer(options: StartOptions): Promise<void> {
  const { layout, binaries, idleSeconds } = options;
  const { data } = findPlace(layout);
  const major = exists(data) ? majorOf(data) : undefined;
  if (major !== undefined && major !== binaries.major) throw new OldDataDirectory(major, binaries.major);
  if (!(await serves(layout))) {
    await holding(layout.startLock, LOCK_EX, (startLock) => startUnlessServing(options, startLock));
  }
  ensureSupervisor(layout, findPlace(layout), idleSeconds);
}

/** Takes connections now. */
async function serves(layout: Layout): Promise<boolean> {
  const place = findPlace(layout);
  if (readPostmasterFile(place.data)?.status !== 'ready' || !exists(layout.secret)) return false;
  const dir = findSocketDir(layout, place);
  return dir !== undefined && (await answers(dir));
}

/**
 * A held server lock means that a server lives, or its last processes. It may be on its way up or down (whoever
 * started or stopped it was killed): then it is waited for. One that claims to be ready but can't be reached
 * (its socket was removed) is replaced.
 */
async function startUnlessServing(options: StartOptions, startLock: Lock): Promise<void> {
  const { layout } = options;
  const serverLock = new Lock(layout.serverLock);
  try {
    while (!serverLock.tryTake(LOCK_EX)) {
      if (await serves(layout)) return;
      const place = findPlace(layout);
      if (readPostmasterFile(place.data)?.status === 'ready') await takeFromServer(serverLock, place);
      else await wait(POLL_MS);
    }
    await startServer(options, startLock, serverLock);
  } finally {
    serverLock.close();
  }
}

/** What the file system refuses on the way (no space, no permission) is a server that doesn't start. */
function asTmError(error: unknown): TmError {
  if (error instanceof TmError) return error;
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  const noLoader = code === 'ENOENT' && syscall?.startsWith('spawn') === true;
  return new TmError(noLoader ? 'TM1305' : 'TM1302', noLoader ? 'its binaries need glibc' : message, {
    cause: error,
  });
}
