import { randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { TmError } from '../../model/errors.ts';
import { ensureDir, isRoot, readText, writeDurably } from './files.ts';
import type { Layout } from './layout.ts';
import { run } from './run.ts';

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Where the binaries and the data directory lie, and who runs Postgres: another user when we are root. */
export interface Place {
  readonly dir: string;
  readonly data: string;
  readonly owner: Owner;
}

const NOBODY: Owner = { uid: 65534, gid: 65534 };
const ELSEWHERE = '/var/lib/tidemark-pg-';

const placeAt = (dir: string): Place => {
  const data = join(dir, 'data');
  return { dir, data, owner: ownerOf(data) };
};

/** The place chosen earlier; before anything was chosen, the registry folder. */
export const findPlace = (layout: Layout): Place => placeAt(readText(layout.placePointer) ?? layout.registry);

/**
 * Chooses where a new data directory goes. Root's Postgres runs as a user who may be unable to enter the home
 * (below /root, say): found out by trying, and answered by a folder in /var/lib, named at random, so that a
 * new home at an old path never meets the old data; the home's pointer to it is durable before it exists.
 */
export async function choosePlace(layout: Layout): Promise<Place> {
  const place = findPlace(layout);
  if (await canEnter(place)) return place;
  const elsewhere = placeAt(`${ELSEWHERE}${randomBytes(6).toString('hex')}`);
  writeDurably(layout.placePointer, elsewhere.dir);
  ensureDir(elsewhere.dir, 0o711);
  if (await canEnter(elsewhere)) return elsewhere;
  throw new TmError('TM1302', `user ${place.owner.uid} can enter neither ${place.dir} nor ${elsewhere.dir}`);
}

async function canEnter(place: Place): Promise<boolean> {
  if (!isRoot()) return true;
  ensureDir(place.dir, 0o711);
  const { code } = await run('/bin/sh', ['-c', 'cd -- "$1"', 'sh', place.dir], { owner: place.owner });
  return code === 0;
}

/** Existing data says who runs it: that stays so when a user named postgres appears later. Never root. */
function ownerOf(data: string): Owner {
  if (!isRoot()) return { uid: process.geteuid!(), gid: process.getegid!() };
  const found = statSync(data, { throwIfNoEntry: false });
  if (found !== undefined && found.uid !== 0) return { uid: found.uid, gid: found.gid };
  return passwdEntry((name) => name === 'postgres') ?? NOBODY;
}

export const hasPasswdEntry = (uid: number): boolean =>
  passwdEntry((_, entryUid) => entryUid === uid) !== undefined;

function passwdEntry(wanted: (name: string, uid: number) => boolean): Owner | undefined {
  for (const line of (readText('/etc/passwd') ?? '').split('\n')) {
    const [name = '', , uid, gid] = line.split(':');
    if (uid && wanted(name, Number(uid))) return { uid: Number(uid), gid: Number(gid) };
  }
  return undefined;
}
