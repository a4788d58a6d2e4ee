import {
  appendFileSync,
  closeSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import fc from 'fast-check';
import {
  AT_FDCWD,
  check,
  fchmodat,
  fchownat,
  mknodat,
  removeXattrAt,
  S_IFCHR,
  S_IFIFO,
  setXattrAt,
  utimensat,
} from '../../libs/posix/index.ts';
import { onDisk, pathsOf, typeOf } from './snapshot.ts';

/** Names that sort, escape or encode badly; bytes as latin1. */
const NAMES = [
  'a',
  'a.b',
  'a b',
  'B',
  '\xc3\x84',
  '\xff\xfe',
  '__proto__',
  'line\nend',
  '-f',
  'x'.repeat(255),
];
const TARGETS = ['a', 'nowhere/at all', '\xff\xfe', 't'.repeat(4000)];
/** Top-level file that stays, so that the root is never an emptied one. */
export const KEPT_FILE = 'kept';
const NS = 1_000_000_000n;
const IS_ROOT = process.getuid?.() === 0;

/** Chooses among what a tree holds at the time, so that a seed says everything. */
class Tree {
  readonly #root: string;
  readonly #paths: string[];

  constructor(root: string) {
    this.#root = root;
    this.#paths = pathsOf(root).filter((path) => path !== KEPT_FILE);
  }

  #choose(pick: number, fits: (type: string, path: string) => boolean): Buffer {
    const fitting = this.#paths.filter((path) =>
      fits(typeOf(lstatSync(onDisk(this.#root, path), { bigint: true })), path),
    );
    if (fitting.length === 0) throw Object.assign(new Error('nothing to choose from'), { code: 'ENOENT' });
    return onDisk(this.#root, fitting[pick % fitting.length]!);
  }

  any = (pick: number): Buffer => this.#choose(pick, () => true);
  inner = (pick: number): Buffer => this.#choose(pick, (_, path) => path !== '');
  file = (pick: number): Buffer => this.#choose(pick, (type) => type === 'file');
  leaf = (pick: number): Buffer => this.#choose(pick, (type) => type !== 'directory');
  child = (dir: number, name: string): Buffer =>
    Buffer.concat([
      this.#choose(dir, (type, path) => type === 'directory' && path.length < 600),
      Buffer.from(`/${name}`, 'latin1'),
    ]);
}

/** What file systems refuse is no edit: the name is taken, a folder would move into itself, no such attribute. */
const REFUSALS = 'EEXIST ENOENT EISDIR ENOTDIR ENOTEMPTY EINVAL EPERM ENODATA EOPNOTSUPP EACCES'.split(' ');

/** One change of a tree; does what is possible of it. */
export class Edit {
  readonly #name: string;
  readonly #args: unknown;
  readonly #change: (tree: Tree) => void;

  constructor(name: string, args: unknown, change: (tree: Tree) => void) {
    this.#name = name;
    this.#args = args;
    this.#change = change;
  }

  apply(root: string): void {
    try {
      this.#change(new Tree(root));
    } catch (error) {
      if (!REFUSALS.includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }

  [fc.toStringMethod](): string {
    return `${this.#name}${fc.stringify(this.#args)}`;
  }
}

/** Bytes that a `fill` stands for: few distinct ones, so that blocks recur; a third of them is all alike. */
function content(fill: number, size: number): Buffer {
  const bytes = Buffer.alloc(size);
  if (fill % 3 === 0) return bytes.fill(fill % 2);
  let state = (fill % 7) + 1;
  for (let i = 0; i < size; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state;
  }
  return bytes;
}

function make(type: string, path: Buffer): void {
  if (type === 'file') writeFileSync(path, 'made', { flag: 'wx' });
  else if (type === 'directory') mkdirSync(path);
  else if (type === 'symlink') symlinkSync('somewhere', path);
  else if (type === 'fifo') check(mknodat(AT_FDCWD, path, S_IFIFO | 0o640, 0, 0), 'mknod');
  else check(mknodat(AT_FDCWD, path, S_IFCHR | 0o600, 7, 300), 'mknod');
}

/** rmSync takes no names that are not UTF-8. */
function removeAll(path: Buffer): void {
  if (!lstatSync(path).isDirectory()) {
    unlinkSync(path);
    return;
  }
  for (const child of readdirSync(path, { encoding: 'buffer' }))
    removeAll(Buffer.concat([path, Buffer.from('/'), child]));
  rmdirSync(path);
}

function setTime(path: Buffer, ns: bigint): void {
  const fraction = ((ns % NS) + NS) % NS;
  check(utimensat(AT_FDCWD, path, (ns - fraction) / NS, Number(fraction)), 'utimensat');
}

/** Same size and same mtime as before: only ctime tells. */
function editUnseen(path: Buffer, fill: number): void {
  const { size, mtimeNs } = lstatSync(path, { bigint: true });
  writeFileSync(path, content(fill, Number(size)), { flag: 'r+' });
  setTime(path, mtimeNs);
}

function writeSparse(path: Buffer, spans: readonly number[], fill: number): void {
  const fd = openSync(path, 'wx');
  try {
    let at = 0;
    for (const [i, span] of spans.entries()) {
      const length = span * 4096 + (span % 3);
      if (i % 2 === 1) writeSync(fd, content(fill + i, length), 0, length, at);
      at += length;
    }
    ftruncateSync(fd, at);
  } finally {
    closeSync(fd);
  }
}

/** A POSIX ACL as the kernel takes it (version 2): owner, one user more, group, mask, others. */
function acl(uid: number, perm: number): Buffer {
  const entries: [number, number, number][] = [
    [0x01, 7, 0xffff_ffff],
    [0x02, perm & 7, uid],
    [0x04, 5, 0xffff_ffff],
    [0x10, 7, 0xffff_ffff],
    [0x20, perm & 5, 0xffff_ffff],
  ];
  const bytes = Buffer.alloc(4 + entries.length * 8);
  bytes.writeUInt32LE(2, 0);
  entries.forEach(([tag, permission, id], i) => {
    bytes.writeUInt16LE(tag, 4 + i * 8);
    bytes.writeUInt16LE(permission, 6 + i * 8);
    bytes.writeUInt32LE(id, 8 + i * 8);
  });
  return bytes;
}

function setXattr(path: Buffer, name: string, value: Buffer): void {
  check(setXattrAt(AT_FDCWD, path, Buffer.from(name), value), 'setxattr');
}

const nat = fc.nat({ max: 997 });
const name = fc.constantFrom(...NAMES);
const type = fc.constantFrom('file', 'directory', 'symlink', 'fifo', 'device');
const attribute = fc.constantFrom('user.a', 'user.long.name', 'trusted.t');
const size = fc.oneof(
  { weight: 6, arbitrary: fc.nat({ max: 9000 }) },
  { weight: 2, arbitrary: fc.constantFrom(0, 4096, 262_143, 262_144, 700_000) },
  { weight: 1, arbitrary: fc.constantFrom(1_500_000, 5_000_000) },
);
const second = fc.constantFrom(-2_208_988_800n, -1n, 0n, 1_700_000_000n, 4_294_967_296n, 5_000_000_000n);

function edit<T>(
  label: string,
  weight: number,
  args: { [K in keyof T]: fc.Arbitrary<T[K]> },
  change: (tree: Tree, args: T) => void,
): { weight: number; arbitrary: fc.Arbitrary<Edit> } {
  const toEdit = (values: T): Edit => new Edit(label, values, (tree) => change(tree, values));
  return { weight, arbitrary: (fc.record(args, { noNullPrototype: true }) as fc.Arbitrary<T>).map(toEdit) };
}

const ofContent = [
  edit('create', 5, { dir: nat, name, size, fill: nat }, (tree, { dir, name, size, fill }) =>
    writeFileSync(tree.child(dir, name), content(fill, size), { flag: 'wx' }),
  ),
  edit('overwrite', 3, { pick: nat, at: size, size, fill: nat }, (tree, { pick, at, size, fill }) => {
    const fd = openSync(tree.file(pick), 'r+');
    writeSync(fd, content(fill, size), 0, size, at);
    closeSync(fd);
  }),
  edit('append', 2, { pick: nat, size, fill: nat }, (tree, { pick, size, fill }) =>
    appendFileSync(tree.file(pick), content(fill, size)),
  ),
  edit('truncate', 2, { pick: nat, size }, (tree, { pick, size }) => truncateSync(tree.file(pick), size)),
  edit('editUnseen', 6, { pick: nat, fill: nat }, (tree, { pick, fill }) =>
    editUnseen(tree.file(pick), fill),
  ),
  edit(
    'sparse',
    1,
    { dir: nat, name, spans: fc.array(fc.nat({ max: 40 }), { maxLength: 6 }), fill: nat },
    (tree, { dir, name, spans, fill }) => writeSparse(tree.child(dir, name), spans, fill),
  ),
];

const ofNames = [
  edit('mkdir', 3, { dir: nat, name }, (tree, { dir, name }) => mkdirSync(tree.child(dir, name))),
  edit('make', 2, { type, dir: nat, name }, (tree, { type, dir, name }) => make(type, tree.child(dir, name))),
  edit('rename', 3, { pick: nat, dir: nat, name }, (tree, { pick, dir, name }) =>
    renameSync(tree.inner(pick), tree.child(dir, name)),
  ),
  edit('link', 2, { pick: nat, dir: nat, name }, (tree, { pick, dir, name }) =>
    linkSync(tree.leaf(pick), tree.child(dir, name)),
  ),
  edit('symlink', 1, { target: fc.constantFrom(...TARGETS), dir: nat, name }, (tree, { target, dir, name }) =>
    symlinkSync(Buffer.from(target, 'latin1'), tree.child(dir, name)),
  ),
  edit('unlink', 2, { pick: nat }, (tree, { pick }) => unlinkSync(tree.leaf(pick))),
  edit('remove', 1, { pick: nat }, (tree, { pick }) => removeAll(tree.inner(pick))),
  edit('retype', 2, { type, pick: nat }, (tree, { type, pick }) => {
    const path = tree.inner(pick);
    removeAll(path);
    make(type, path);
  }),
];

const ofMetadata = [
  edit('chmod', 2, { pick: nat, mode: fc.nat({ max: 0o7777 }) }, (tree, { pick, mode }) =>
    check(fchmodat(AT_FDCWD, tree.any(pick), IS_ROOT ? mode : mode | 0o700), 'chmod'),
  ),
  edit('chown', 1, { pick: nat, uid: nat, gid: nat }, (tree, { pick, uid, gid }) =>
    check(fchownat(AT_FDCWD, tree.any(pick), uid, gid), 'chown'),
  ),
  edit('utimes', 2, { pick: nat, second, ns: fc.nat({ max: 999_999_999 }) }, (tree, { pick, second, ns }) =>
    check(utimensat(AT_FDCWD, tree.any(pick), second, ns), 'utimensat'),
  ),
  edit(
    'setXattr',
    2,
    { pick: nat, attribute, size: fc.nat({ max: 5000 }), fill: nat },
    (tree, { pick, attribute, size, fill }) => setXattr(tree.any(pick), attribute, content(fill, size)),
  ),
  edit('removeXattr', 1, { pick: nat, attribute }, (tree, { pick, attribute }) =>
    check(removeXattrAt(AT_FDCWD, tree.any(pick), Buffer.from(attribute)), 'removexattr'),
  ),
  edit(
    'acl',
    1,
    { pick: nat, of: fc.constantFrom('access', 'default'), uid: nat, perm: nat },
    (tree, { pick, of, uid, perm }) => setXattr(tree.any(pick), `system.posix_acl_${of}`, acl(uid, perm)),
  ),
];

export const edits = fc.array(fc.oneof(...ofContent, ...ofNames, ...ofMetadata), { maxLength: 14 });
