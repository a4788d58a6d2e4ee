import { readFileSync } from 'node:fs';
import type { PathKey } from './pending.ts';

export const MOUNTINFO = '/proc/self/mountinfo';

/** One line of /proc/self/mountinfo (proc_pid_mountinfo(5)). */
export interface Mount {
  /** As Stat.mountId. */
  readonly id: bigint;
  /** Absolute; one char for each byte. */
  readonly point: string;
  /** Of the device, `major:minor`: two mounts of one file system have the same. */
  readonly device: string;
  /** Of the file system, as `mount -t` takes it. */
  readonly type: string;
}

/** Views of the running system, which no backup holds either. */
const VIEWS: ReadonlySet<string> = new Set(['proc', 'sysfs']);

export const isView = ({ type }: Mount): boolean => VIEWS.has(type);

const unescaped = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

export function parseMounts(text: string): Mount[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const fields = line.split(' ');
      const type = fields[fields.indexOf('-', 6) + 1]!;
      return { id: BigInt(fields[0]!), point: unescaped(fields[4]!), device: fields[2]!, type };
    });
}

export const readMounts = (): Mount[] => parseMounts(readFileSync(MOUNTINFO, 'latin1'));

/** The file systems mounted below `root` (absolute, canonical, one char for each byte), by their path below it. */
export function mountsBelow(root: string, mounts: readonly Mount[]): Map<PathKey, Mount> {
  const prefix = root === '/' ? '/' : `${root}/`;
  const below = new Map<PathKey, Mount>();
  for (const mount of mounts) {
    if (!mount.point.startsWith(prefix) || mount.point === root) continue;
    below.set(mount.point.slice(prefix.length).replaceAll('/', '\0'), mount);
  }
  return below;
}

/** Where something is mounted now that was not before, or the other way round. */
export function changedMounts(
  before: ReadonlyMap<PathKey, Mount>,
  now: ReadonlyMap<PathKey, Mount>,
): PathKey[] {
  const paths = new Set([...before.keys(), ...now.keys()]);
  return [...paths].filter((path) => before.get(path)?.id !== now.get(path)?.id);
}
