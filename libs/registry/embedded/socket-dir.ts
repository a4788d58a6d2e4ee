import { accessSync, chownSync, constants, lstatSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureDir, isRoot, readText, writeDurably } from './files.ts';
import type { Layout } from './layout.ts';
import type { Owner, Place } from './place.ts';

/** Part of the socket's name; nothing listens on TCP. */
export const PORT = 5432;

/** sun_path has 108 bytes, the last of them 0. */
const LONGEST_SOCKET_PATH = 107;

const socketIn = (dir: string): string => join(dir, `.s.PGSQL.${PORT}`);
const fits = (dir: string): boolean => Buffer.byteLength(socketIn(dir)) <= LONGEST_SOCKET_PATH;
const nearData = (place: Place): string => join(place.dir, 'run');

export const socketPathBytes = (place: Place): number => Buffer.byteLength(socketIn(nearData(place)));

/** The directory in which a running server's socket is. */
export function findSocketDir(layout: Layout, place: Place): string | undefined {
  return fits(nearData(place)) ? nearData(place) : readText(layout.socketPointer);
}

/**
 * The same for a server about to start: it exists, belongs to the server's user, mode 0700, and holds no socket
 * of a dead server. Beside the data where that path is short enough for a socket, else in a temporary folder.
 */
export function prepareSocketDir(layout: Layout, place: Place): string {
  const dir = findSocketDir(layout, place);
  if (dir === nearData(place)) {
    ensureDir(dir, 0o700);
    give(dir, place.owner);
  } else if (dir === undefined || !isOurs(dir, place.owner)) {
    return makeShortDir(layout, place);
  }
  for (const suffix of ['', '.lock']) rmSync(socketIn(dir) + suffix, { force: true });
  return dir;
}

function makeShortDir(layout: Layout, place: Place): string {
  const base = [isRoot() ? '/run' : process.env.XDG_RUNTIME_DIR, tmpdir()].find(isWritable) ?? '/tmp';
  const dir = mkdtempSync(join(base, 'tidemark-'));
  give(dir, place.owner);
  writeDurably(layout.socketPointer, dir);
  return dir;
}

const give = (path: string, owner: Owner): void => {
  if (isRoot()) chownSync(path, owner.uid, owner.gid);
};

/** A folder in /tmp may have been swept away and its name taken by somebody else. */
function isOurs(dir: string, owner: Owner): boolean {
  const found = lstatSync(dir, { throwIfNoEntry: false });
  return found?.isDirectory() === true && found.uid === owner.uid && (found.mode & 0o077) === 0;
}

function isWritable(dir: string | undefined): dir is string {
  if (!dir || !fits(join(dir, 'tidemark-XXXXXX'))) return false;
  try {
    accessSync(dir, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** SSLRequest (https://www.postgresql.org/docs/18/protocol-message-formats.html): answered by one byte. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
const ANSWER_MS = 30_000;

/**
 * Whether a server answers on the socket. Being connected proves less: so is who meets a server just killed,
 * until the kernel has closed its socket.
 */
export function answers(dir: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketIn(dir), () => socket.write(SSL_REQUEST));
    socket.setTimeout(ANSWER_MS, () => socket.destroy());
    socket.once('data', () => {
      resolve(true);
      socket.destroy();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'EAGAIN')); // busy, hence alive
    socket.once('close', () => resolve(false));
  });
}
