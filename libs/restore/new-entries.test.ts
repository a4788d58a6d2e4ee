import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { type EntryHead, EntryType } from '../model/entry.ts';
import * as posix from '../posix/index.ts';
import { NewEntries } from './new-entries.ts';
import { TargetFile, TemporaryNames } from './target-file.ts';

const path = mkdtempSync(join(tmpdir(), 'tidemark-new-'));
const dirFd = posix.open(path, posix.O_RDONLY | posix.O_DIRECTORY);
afterAll(() => {
  posix.close(dirFd);
  rmSync(path, { recursive: true });
});

const isRoot = posix.geteuid() === 0;
const stat = new posix.Stat();
const names = new TemporaryNames(Buffer.from('test'));
const owner = (): { uid: number; gid: number } => {
  posix.check(posix.fstat(dirFd, stat), 'fstat');
  return { uid: stat.uid, gid: stat.gid };
};
const head = (type: EntryType, mode: number): EntryHead => ({
  ...owner(),
  type,
  mode,
  mtimeSec: 1n,
  mtimeNsec: 2,
  size: 0,
  linkGroup: 0n,
});

let count = 0;

/** The mode that a file has while it is written, and in the end. */
function file(made: NewEntries, mode: number, isTaken = false): { while: number; after: number } {
  const name = Buffer.from(`file-${count++}`);
  if (isTaken) posix.check(posix.mknodat(dirFd, name, posix.S_IFIFO | 0o600, 0, 0), 'mknodat');
  const target = new TargetFile({ dirFd, name, mode: made.modeToMake(mode) }, true, names);
  posix.check(posix.fstat(target.fd, stat), 'fstat');
  const before = stat.mode;
  target.finish(0, (handle) => made.set(handle, head(EntryType.file, mode), []));
  posix.check(posix.statx(dirFd, name, stat), 'statx');
  return { while: before, after: stat.mode };
}

test('files have their modes whatever umask cuts, in any order', () => {
  const made = new NewEntries(isRoot, stat, true);
  for (const mode of [0o644, 0o644, 0o666, 0o777, 0o666, 0o4755, 0o755, 0o4755, 0o000, 0o1777, 0o600, 0o644])
    expect(file(made, mode).after).toBe(mode);
});

test('a file in a directory that others may enter is for its owner alone until it is whole', () => {
  const made = new NewEntries(isRoot, stat, false);
  for (const mode of [0o644, 0o755, 0o777, 0o644])
    expect(file(made, mode)).toEqual({ while: 0o600, after: mode });
});

test('setuid comes at the end', () => {
  expect(file(new NewEntries(isRoot, stat, true), 0o6711).while & 0o7000).toBe(0);
});

test('a file whose name was taken meanwhile has its mode too', () => {
  const made = new NewEntries(isRoot, stat, true);
  for (const isTaken of [true, false, true]) expect(file(made, 0o664, isTaken).after).toBe(0o664);
});

test('a fifo behind a symlink has its own mode', () => {
  const made = new NewEntries(isRoot, stat, true);
  const [link, fifo] = [Buffer.from('link'), Buffer.from('fifo')];
  posix.check(posix.symlinkat(Buffer.from('there'), dirFd, link), 'symlinkat');
  made.set({ dirFd, name: link, fd: undefined }, head(EntryType.symlink, 0o777), []);
  posix.check(posix.mknodat(dirFd, fifo, posix.S_IFIFO | 0o600, 0, 0), 'mknodat');
  made.set({ dirFd, name: fifo, fd: undefined }, head(EntryType.fifo, 0o777), []);
  posix.check(posix.statx(dirFd, fifo, stat), 'statx');
  expect(stat.mode).toBe(0o777);
});
