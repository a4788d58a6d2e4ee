import { createHash } from 'node:crypto';
import { type BigIntStats, lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { AT_FDCWD, getXattrAt, listXattrsAt } from '../../libs/posix/index.ts';

/** What a restored entry has to equal; `allocated` at most, give or take what a file system rounds up. */
interface Entry {
  readonly type: string;
  readonly text: string;
  readonly allocated: bigint;
  /** Inode number of an entry with several names; the names a backup knows to be one file by it. */
  readonly inode?: bigint;
}

/** A tree as it was: entries by path (bytes as latin1), the root being ''. */
export type Snapshot = ReadonlyMap<string, Entry>;

const LINKED = ' linked with ';
const MORE_ALLOCATED = 64n * 1024n;
const TYPES: [string, (stat: BigIntStats) => boolean][] = [
  ['file', (stat) => stat.isFile()],
  ['directory', (stat) => stat.isDirectory()],
  ['symlink', (stat) => stat.isSymbolicLink()],
  ['fifo', (stat) => stat.isFIFO()],
  ['device', (stat) => stat.isCharacterDevice() || stat.isBlockDevice()],
];

export const typeOf = (stat: BigIntStats): string => TYPES.find(([, is]) => is(stat))?.[0] ?? 'unknown';

export const bytesOf = (path: string): Buffer => Buffer.from(path, 'latin1');

/** The path of an entry on disk. */
export const onDisk = (root: string, path: string): Buffer =>
  path === '' ? Buffer.from(root) : Buffer.concat([Buffer.from(`${root}/`), bytesOf(path)]);

/** Every path below the root in order of bytes, the root ('') first. */
export function pathsOf(root: string, dir = ''): string[] {
  const names = readdirSync(onDisk(root, dir), { encoding: 'buffer' }).map((name) => name.toString('latin1'));
  const paths = names.sort().flatMap((name) => {
    const path = dir === '' ? name : `${dir}/${name}`;
    return lstatSync(onDisk(root, path)).isDirectory() ? pathsOf(root, path) : [path];
  });
  return [dir, ...paths];
}

function xattrsOf(path: Buffer): string {
  const names = listXattrsAt(AT_FDCWD, path);
  if (typeof names === 'number') return `errno ${names}`;
  return names
    .map((name) => {
      const value = getXattrAt(AT_FDCWD, path, name);
      return `${name.toString('latin1')}=${typeof value === 'number' ? value : sha(value)}`;
    })
    .join(',');
}

const sha = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex').slice(0, 16);

/** Reads a tree with nothing but lstat, readlink, read and the xattr calls. */
export function snapshot(root: string): Snapshot {
  const entries = new Map<string, Entry>();
  const groups = new Map<bigint, string>();
  for (const path of pathsOf(root)) {
    const file = onDisk(root, path);
    const stat = lstatSync(file, { bigint: true });
    const type = typeOf(stat);
    const facts = [type, `${stat.uid}:${stat.gid}`, `mtime ${stat.mtimeNs}`, xattrsOf(file)];
    if (type !== 'symlink') facts.push(`mode ${(Number(stat.mode) & 0o7777).toString(8)}`);
    if (type === 'symlink') facts.push(sha(readlinkSync(file, { encoding: 'buffer' })));
    if (type === 'device') facts.push(`rdev ${stat.rdev}`);
    const isLinked = type !== 'directory' && stat.nlink > 1n;
    if (type === 'file') facts.push(`size ${stat.size}`, sha(readFileSync(file)));
    if (isLinked) {
      const first = groups.get(stat.ino) ?? path;
      groups.set(stat.ino, first);
      facts.push(`linked with ${first}`);
    }
    entries.set(path, {
      type,
      text: facts.join(' '),
      allocated: stat.blocks * 512n,
      ...(isLinked ? { inode: stat.ino } : {}),
    });
  }
  return entries;
}

/** An entry without what its link partners are called: they change by themselves. */
export const ownFacts = ({ text }: { readonly text: string }): string => text.split(LINKED)[0]!;

export function differences(expected: Snapshot, found: Snapshot): string[] {
  const all = new Set([...expected.keys(), ...found.keys()]);
  return [...all].flatMap((path) => {
    const [a, b] = [expected.get(path), found.get(path)];
    if (!a || !b) return [`${JSON.stringify(path)}: ${a ? 'missing' : 'too much'}`];
    if (a.text !== b.text) return [`${JSON.stringify(path)}: expected ${a.text}, found ${b.text}`];
    if (b.allocated > a.allocated + MORE_ALLOCATED)
      return [`${JSON.stringify(path)}: ${b.allocated} bytes allocated instead of ${a.allocated}`];
    return [];
  });
}

/** What `path` and everything below it is like; link partners outside do not count. */
export function within(tree: Snapshot, path: string): Snapshot {
  const inside = [...tree].filter(([one]) => one === path || one.startsWith(`${path}/`));
  const members = Map.groupBy(inside, ([, { text }]) => text.split(LINKED)[1]);
  return new Map(
    inside.map(([one, entry]) => {
      const group = entry.text.split(LINKED)[1];
      const partners = group === undefined ? [] : members.get(group)!;
      const link = partners.length > 1 ? `${LINKED}${partners[0]![0]}` : '';
      return [one, { ...entry, text: `${ownFacts(entry)}${link}` }];
    }),
  );
}

export function countOf(tree: Snapshot): { files: number; directories: number; others: number } {
  const types = [...tree.values()].map(({ type }) => type);
  const files = types.filter((type) => type === 'file').length;
  const directories = types.filter((type) => type === 'directory').length;
  return { files, directories, others: types.length - files - directories };
}
