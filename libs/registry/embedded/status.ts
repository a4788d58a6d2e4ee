import { join } from 'node:path';
import { LOCK_SH } from '../../posix/index.ts';
import { findPackage } from './binaries.ts';
import { exists, readText } from './files.ts';
import { layoutOf } from './layout.ts';
import { Lock } from './lock.ts';
import { findPlace } from './place.ts';
import { readPostmasterFile } from './postmaster.ts';
import { socketPathBytes } from './socket-dir.ts';

export interface EmbeddedPostgresStatus {
  /** There is a data directory. */
  readonly installed: boolean;
  readonly running: boolean;
  /** Of the server, while it runs. */
  readonly pid?: number;
  /** Major version of the data directory. */
  readonly version?: string;
  readonly logFile: string;
  /** Bytes of the path that the server's socket has beside the data. */
  readonly socketPathBytes: number;
}

/** Version of the binaries for this machine; undefined where there are none. */
export function embeddedPostgresVersion(): string | undefined {
  try {
    return findPackage().version;
  } catch {
    return undefined;
  }
}

/** Looks without starting or changing anything. */
export async function embeddedPostgresStatus(home: string): Promise<EmbeddedPostgresStatus> {
  const layout = layoutOf(home);
  const place = findPlace(layout);
  const { data } = place;
  const version = readText(join(data, 'PG_VERSION'));
  const running = exists(layout.serverLock) && isHeld(layout.serverLock);
  const pid = running ? readPostmasterFile(data)?.pid : undefined;
  return {
    installed: version !== undefined,
    running,
    ...(pid === undefined ? {} : { pid }),
    ...(version === undefined ? {} : { version }),
    logFile: layout.log,
    socketPathBytes: socketPathBytes(place),
  };
}

function isHeld(path: string): boolean {
  const lock = new Lock(path);
  try {
    return !lock.tryTake(LOCK_SH);
  } finally {
    lock.close();
  }
}
