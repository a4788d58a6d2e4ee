import { TmError } from '../model/errors.ts';
import { joinPath, type TreePath } from '../model/tree-path.ts';
import * as posix from '../posix/index.ts';
import { NameList } from './name-list.ts';
import type { FolderIdentity } from './protocol.ts';

export const isForbidden = (stat: posix.Stat, forbidden: readonly FolderIdentity[]): boolean =>
  forbidden.some(
    (one) => one.ino === stat.ino && one.devMajor === stat.devMajor && one.devMinor === stat.devMinor,
  );

export interface Removal {
  readonly forbidden: readonly FolderIdentity[];
  readonly dryRun: boolean;
  /** Called for each entry that goes, what is in a directory before the directory. */
  readonly removed: (dir: TreePath, name: Buffer) => void;
}

/** Removes an entry and all below it, by handles; does not cross file systems, and spares what is forbidden. */
export function removeTree(dirFd: number, dir: TreePath, name: Buffer, removal: Removal): void {
  const stat = new posix.Stat();
  const found = posix.statx(dirFd, name, stat);
  if (found === -posix.ENOENT) return;
  posix.check(found, 'statx', name);
  if (isForbidden(stat, removal.forbidden)) return;
  const isDirectory = stat.type === posix.S_IFDIR;
  if (isDirectory && !emptied(dirFd, dir, name, stat.dev, removal)) return;
  if (!removal.dryRun)
    posix.check(posix.unlinkat(dirFd, name, isDirectory ? posix.AT_REMOVEDIR : 0), 'unlinkat', name);
  removal.removed(dir, name);
}

/** False for a mount point, which stays. */
function emptied(dirFd: number, dir: TreePath, name: Buffer, dev: bigint, removal: Removal): boolean {
  const stat = new posix.Stat();
  const fd = posix.check(posix.openDirAt(dirFd, name), 'openat', name);
  try {
    posix.check(posix.fstat(fd, stat), 'fstat');
    if (stat.dev !== dev || stat.isMountRoot === true) return false;
    const path = joinPath(dir, name);
    const names = new NameList(fd);
    for (let i = 0; i < names.length; i++) {
      const child = names.at(i);
      posix.check(posix.statx(fd, child, stat), 'statx', child);
      if (stat.dev === dev) removeTree(fd, path, child, removal);
    }
  } finally {
    posix.close(fd);
  }
  return true;
}

/** A directory in the way of something else goes when it is empty, or with all below it where that is allowed. */
export function clearTheWay(
  dirFd: number,
  dir: TreePath,
  name: Buffer,
  options: {
    readonly delete: boolean;
    readonly dryRun: boolean;
    readonly forbidden: readonly FolderIdentity[];
  },
  removed: Removal['removed'],
): void {
  if (!options.delete) {
    const fd = posix.check(posix.openDirAt(dirFd, name), 'openat', name);
    try {
      if (new NameList(fd).length > 0)
        throw new TmError('TM1602', 'a directory that is not empty stands in its place; --delete removes it');
    } finally {
      posix.close(fd);
    }
  }
  removeTree(dirFd, dir, name, { ...options, removed });
}
