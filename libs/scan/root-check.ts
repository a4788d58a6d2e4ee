import {
  AT_SYMLINK_NOFOLLOW,
  check,
  close,
  DirReader,
  fstat,
  fstatfsType,
  openDirAt,
  Stat,
  statx,
} from '../posix/index.ts';
import type { StateReader } from './state-reader.ts';

const HERE = Buffer.from('.');

interface RootHint {
  readonly ino: string;
  /** f_type of statfs(2). */
  readonly fsType: number;
  /** Entries in the root. */
  readonly names: number;
}

/** What a root looks like, for the registry to keep until the next `checkRoot`. `names`: how many it has. */
export function encodeRootHint(rootFd: number, ino: bigint, names: number): string {
  const hint: RootHint = { ino: String(ino), fsType: check(fstatfsType(rootFd), 'fstatfs'), names };
  return JSON.stringify(hint);
}

/** As the root looks now. Throws PosixError. */
export function rootHint(rootFd: number): string {
  const stat = new Stat();
  check(fstat(rootFd, stat), 'statx');
  return encodeRootHint(rootFd, stat.ino, countNames(rootFd));
}

/**
 * Whether the root still is what it was, or looks emptied or replaced: TM1105. It does when it has no names though
 * some are known, or when its inode or type of file system changed and it lacks half of the known names. The device
 * number says nothing: it changes with reboots. `knownNames` are the names in the root that the last backup holds.
 */
export function checkRoot(
  rootFd: number,
  previousHint: string | undefined,
  knownNames: readonly Buffer[],
): 'ok' | 'TM1105' {
  const now = JSON.parse(rootHint(rootFd)) as RootHint;
  const before = previousHint === undefined ? undefined : (JSON.parse(previousHint) as RootHint);
  const hadNames = knownNames.length > 0 || (before?.names ?? 0) > 0;
  if (hadNames && now.names === 0) return 'TM1105';
  const isSameRoot = !before || (before.ino === now.ino && before.fsType === now.fsType);
  if (isSameRoot || knownNames.length === 0) return 'ok';
  const stat = new Stat();
  const missing = knownNames.filter((name) => statx(rootFd, name, stat, AT_SYMLINK_NOFOLLOW) < 0).length;
  return missing * 2 >= knownNames.length ? 'TM1105' : 'ok';
}

/** Names in the root as of the state, copies. Rewinds the reader before and after. */
export function topLevelNames(state: StateReader): Buffer[] {
  const names: Buffer[] = [];
  for (state.rewind(); !state.done && state.dir.length === 0; state.advance()) {
    if (state.name.length > 0) names.push(Buffer.from(state.name));
  }
  state.rewind();
  return names;
}

function countNames(rootFd: number): number {
  const fd = check(openDirAt(rootFd, HERE), 'openat');
  try {
    const reader = new DirReader(fd);
    let names = 0;
    while (reader.next()) names++;
    return names;
  } finally {
    close(fd);
  }
}
