import { execFileSync, spawnSync } from 'node:child_process';
import { lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { blake3, DigestSum } from '../model/digests.ts';
import { compareEntries, joinPath, pathToDisplay, ROOT, type TreePath } from '../model/tree-path.ts';
import * as posix from '../posix/index.ts';
import { type DirtyPaths, DirtyScan, type DirtyScanOptions } from './dirty/dirty-scan.ts';
import { ExcludeRules } from './excludes.ts';
import { KnownState } from './known/known-state.ts';
import type { NewState, ScanSource } from './port.ts';
import { Scan } from './scan.ts';
import type { ScanOptions } from './scan-options.ts';
import { openState, peekState } from './state-file.ts';
import type { StateIdentity } from './state-format.ts';
import type { StateReader } from './state-reader.ts';
import { StateWriter } from './state-writer.ts';
import type { ScanTotals, WorkBatch, WorkGroup, WorkItem } from './steps.ts';

export const isRoot: boolean = process.geteuid?.() === 0;
export const b = (text: string): Buffer => Buffer.from(text);
const NS = 1_000_000n;
const HOUR = 3_600_000_000_000n;

/** Everything is older than that, so nothing is racy. */
export const later = (): bigint => BigInt(Date.now()) * NS + HOUR;
export const now = (): bigint => BigInt(Date.now()) * NS;

export interface Found {
  /** Display paths; `code path` for kept and note. In order of (dir, name). */
  readonly work: string[];
  /** Those of `work` that came with their directory and need no reading. */
  readonly moved: string[];
  readonly gone: string[];
  readonly kept: string[];
  readonly notes: string[];
  readonly batches: number;
  readonly largestBatch: number;
  readonly totals: ScanTotals;
  readonly rootHint: string;
}

interface Version {
  readonly dir: TreePath;
  readonly name: Buffer;
  readonly hash: Buffer;
  /** What the entry was when it was read. */
  readonly print: string;
}

interface Run extends Partial<ScanOptions> {
  /** Called before each step. */
  readonly before?: (step: number) => void;
  /** Instead of reading: gives the fingerprint, or undefined for an entry that vanished. */
  readonly read?: (group: WorkGroup, item: WorkItem) => string | undefined;
  readonly trusted?: boolean;
  /** Reads and releases the batches only when the walk has ended. */
  readonly readAtTheEnd?: boolean;
  /** Walks as a user to whom permissions apply. */
  readonly asNobody?: boolean;
}

/** A temp directory with a tree, its state file, and a backup that is a map of what was read. */
export class Rig {
  readonly home: string;
  readonly tree: string;
  readonly statePath: string;
  readonly rootFd: number;
  readonly backup = new Map<string, Version>();
  identity: StateIdentity | undefined;
  /** Hashes of what the running scan had read. */
  #sum = new DigestSum();
  #seq = 0;

  constructor(parent: string = tmpdir()) {
    this.home = mkdtempSync(join(parent, 'scan-'));
    this.tree = join(this.home, 'tree');
    this.statePath = join(this.home, 'state');
    posix.check(posix.mkdirat(posix.AT_FDCWD, b(this.tree), 0o755), 'mkdir');
    this.rootFd = posix.open(this.tree, posix.O_RDONLY | posix.O_DIRECTORY);
  }

  path(...names: string[]): string {
    return join(this.tree, ...names);
  }

  /** As if it were in the base. */
  know(dir: TreePath, name: Buffer, hash: Buffer): void {
    this.backup.set(keyOf(dir, name), { dir, name, hash, print: '' });
  }

  openState(): StateReader | undefined {
    return this.identity && openState(this.statePath, this.identity);
  }

  /** One scan with everything read and the state committed. The new state has to be what the backup is. */
  scan(run: Run = {}): Found {
    const state = run.state ?? this.openState();
    if (this.identity) expect(state).toBeDefined();
    const startedAt = run.startedAt ?? later();
    const stateWriter = new StateWriter(this.statePath, startedAt);
    const { before, read, trusted, readAtTheEnd, asNobody, ...options } = run;
    const scan = new Scan({
      rootFd: this.rootFd,
      rootPath: b(this.tree),
      state,
      stateWriter,
      readAll: false,
      excludes: new ExcludeRules(),
      oneFileSystem: false,
      skip: [],
      startedAt,
      ...options,
    });
    try {
      const follow = () => this.#follow(scan, stateWriter, run);
      this.#sum = new DigestSum();
      const found = asNobody ? doAsNobody(follow) : follow();
      this.#commit(stateWriter);
      if (options.readAll) this.#expectFromZero(scan);
      this.#expectState();
      return found;
    } catch (error) {
      stateWriter.abandon();
      throw error;
    } finally {
      scan.close();
      state?.close();
    }
  }

  /** One look at dirty paths, over the known state of the last backup; as `scan` in the rest. */
  dirtyScan(dirty: DirtyPaths, run: Run & Partial<DirtyScanOptions> = {}): Found {
    const known = KnownState.open(this.statePath, this.identity!);
    expect(known, 'the state is known').toBeDefined();
    const { before, read, trusted, readAtTheEnd, asNobody, ...options } = run;
    const scan = new DirtyScan({
      rootFd: this.rootFd,
      rootPath: b(this.tree),
      known: known!,
      dirty,
      rootHint: undefined,
      acceptRoot: false,
      excludes: new ExcludeRules(),
      oneFileSystem: false,
      skip: [],
      startedAt: later(),
      ...options,
    });
    try {
      const follow = () => this.#follow(scan, scan.changes, run);
      const found = asNobody ? doAsNobody(follow) : follow();
      this.#commit(scan.changes);
      const { unchanged: _, ...totals } = found.totals;
      expect(known!.totals).toEqual(totals);
      this.#expectState();
      return found;
    } finally {
      scan.close();
      known!.close();
    }
  }

  #follow(scan: ScanSource, writer: NewState, run: Run): Found {
    const named: Record<'gone' | 'kept' | 'note', Named[]> = { gone: [], kept: [], note: [] };
    const batches: WorkBatch[] = [];
    for (let i = 0; ; i++) {
      run.before?.(i);
      const step = scan.next();
      if (step.type === 'end') break;
      if (step.type === 'progress') continue;
      if (step.type === 'work') {
        batches.push(step.batch);
        if (!run.readAtTheEnd) this.#read(scan, step.batch, writer, run);
      } else {
        named[step.type].push(...step.entries);
        if (step.type === 'gone') for (const entry of step.entries) this.#gone(entry);
      }
    }
    if (run.readAtTheEnd) for (const batch of batches) this.#read(scan, batch, writer, run);
    const work = batches.flatMap(({ groups }) =>
      groups.flatMap(({ dir, items }) => items.map(({ name, from }) => ({ dir, name, from }))),
    );
    const text = (list: Named[]): string[] => list.sort(inOrder).map(display);
    const all = [...work, ...named.gone, ...named.kept].map((entry) => keyOf(entry.dir, entry.name));
    expect(new Set(all).size, 'a path is in one step only').toBe(all.length);
    return {
      work: text(work),
      moved: text(work.filter(({ from }) => from !== undefined)),
      gone: text(named.gone),
      kept: text(named.kept),
      notes: text(named.note),
      batches: batches.length,
      largestBatch: Math.max(0, ...batches.map((batch) => batch.count)),
      totals: { ...scan.totals },
      rootHint: scan.rootHint(),
    };
  }

  /** What a scan says, without taking it in. */
  stepsOf(scan: ScanSource): Pick<Found, 'work' | 'gone' | 'kept'> {
    const named: Record<'work' | 'gone' | 'kept', Named[]> = { work: [], gone: [], kept: [] };
    for (let step = scan.next(); step.type !== 'end'; step = scan.next()) {
      if (step.type === 'work') {
        for (const { dir, items } of step.batch.groups)
          named.work.push(...items.map(({ name }) => ({ dir, name })));
        scan.release(step.batch.id);
      } else if (step.type === 'gone' || step.type === 'kept') named[step.type].push(...step.entries);
    }
    const text = (list: Named[]): string[] => list.sort(inOrder).map(display);
    return { work: text(named.work), gone: text(named.gone), kept: text(named.kept) };
  }

  #read(scan: ScanSource, batch: WorkBatch, writer: NewState, run: Run): void {
    for (const group of batch.groups) for (const item of group.items) this.#settle(writer, group, item, run);
    scan.release(batch.id);
  }

  #settle(writer: NewState, group: WorkGroup, item: WorkItem, run: Run): void {
    const key = keyOf(group.dir, item.name);
    if (!sameHash(item.previousHash, this.backup.get(key)?.hash))
      expect.unreachable(`hash of ${display({ dir: group.dir, name: item.name })}`);
    const print = (run.read ?? readPrint)(group, item);
    if (print === undefined) {
      writer.void(item.handle);
      this.backup.delete(key);
      return;
    }
    const hash = blake3(b(key), b(print));
    this.#sum.add(hash);
    this.backup.set(key, { dir: Buffer.from(group.dir), name: item.name, hash, print });
    writer.patch(item.handle, { hash, trusted: run.trusted ?? true });
  }

  #gone(entry: { dir: TreePath; name: Buffer; hash?: Buffer }): void {
    const key = keyOf(entry.dir, entry.name);
    if (!sameHash(entry.hash, this.backup.get(key)?.hash)) expect.unreachable(`hash of ${display(entry)}`);
    this.backup.delete(key);
  }

  #commit(writer: NewState): void {
    const sum = new DigestSum();
    for (const { hash } of this.backup.values()) sum.add(hash);
    const epoch = { generation: 1, counter: this.#seq };
    this.identity = { sourceUid: 'source', seq: ++this.#seq, epoch, stateDigest: sum.bytes() };
    writer.finish(this.identity);
    writer.commit();
  }

  /** What was read and what was kept are all of the tree. */
  #expectFromZero(scan: Scan): void {
    expect(this.#sum.add(scan.keptDigest()).bytes()).toEqual(this.identity?.stateDigest);
  }

  /** The state file holds exactly the backup, in order. */
  #expectState(): void {
    const state = peekState(this.statePath, this.identity!, join(this.home, 'peeked'));
    expect(state, 'the new state is whole').toBeDefined();
    const inBackup = [...this.backup.values()]
      .sort(inOrder)
      .map(({ dir, name, hash }) => [display({ dir, name }), hash.toString('hex')]);
    expect(readState(state!)).toEqual(inBackup);
    state!.close();
  }

  /** The backup holds exactly the tree, as it is now. */
  expectBackupIsTree(): void {
    const prints = [...this.backup.values()].sort(inOrder).map((v) => [display(v), v.print]);
    expect(prints).toEqual(listTree(this.rootFd));
  }

  close(): void {
    posix.close(this.rootFd);
    spawnSync('/bin/umount', ['-q', join(this.tree, 'm')]);
    execFileSync('rm', ['-rf', this.home]);
  }
}

/** A rig that is removed when the test has ended, with a check that no descriptor is left. */
export function useRig(parent?: string): Rig {
  const rig = new Rig(parent);
  onTestFinished(() => {
    const open = openBelow(rig.home);
    rig.close();
    expect(open).toEqual([rig.tree]);
  });
  return rig;
}

function doAsNobody<T>(work: () => T): T {
  if (!isRoot) return work();
  process.seteuid!(65534);
  try {
    return work();
  } finally {
    process.seteuid!(0);
  }
}

/** Targets of our descriptors within `folder`. */
export function openBelow(folder: string): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    const target = posix.readlinkat(posix.AT_FDCWD, b(`/proc/self/fd/${fd}`));
    return Buffer.isBuffer(target) && target.toString().startsWith(folder) ? [target.toString()] : [];
  });
}

interface Named {
  readonly dir: TreePath;
  readonly name: Buffer;
  readonly code?: number;
}

const sameHash = (x: Buffer | undefined, y: Buffer | undefined): boolean => (x && y ? x.equals(y) : x === y);
const inOrder = (x: Named, y: Named): number => compareEntries(x.dir, x.name, y.dir, y.name);
const keyOf = (dir: TreePath, name: Buffer): string => `${dir.toString('hex')}/${name.toString('hex')}`;
const display = ({ dir, name, code }: Named): string =>
  `${code === undefined ? '' : `${code} `}${pathToDisplay(joinPath(dir, name))}`;

/** Paths and hashes, in the order of the file. */
export function readState(state: StateReader): [string, string][] {
  const entries: [string, string][] = [];
  for (state.rewind(); !state.done; state.advance()) {
    entries.push([display({ dir: state.dir, name: Buffer.from(state.name) }), state.hash.toString('hex')]);
  }
  state.rewind();
  return entries;
}

const stat = new posix.Stat();

function readPrint(group: WorkGroup, item: WorkItem): string | undefined {
  return printOf(group.dirFd, item.name);
}

/** Type, metadata and content of an entry; undefined when it isn't there. */
function printOf(dirFd: number, name: Buffer): string | undefined {
  const here = name.length === 0;
  const error = here ? posix.fstat(dirFd, stat) : posix.statx(dirFd, name, stat);
  if (error < 0) return undefined;
  const path = Buffer.concat([b(`/proc/self/fd/${dirFd}/`), name]);
  const content =
    stat.type === posix.S_IFREG
      ? readFileSync(path, 'latin1')
      : stat.type === posix.S_IFLNK
        ? readlinkSync(path)
        : '';
  const size = stat.type === posix.S_IFREG ? stat.size : 0;
  return [stat.type, stat.mode, stat.uid, size, stat.mtimeSec, stat.mtimeNsec, content].join(' ');
}

/** All that a backup of a tree has to hold, by other means than the scan's: [display path, print], in order. */
function listTree(rootFd: number): [string, string][] {
  const entries: { dir: TreePath; name: Buffer; print: string }[] = [
    { dir: ROOT, name: ROOT, print: printOf(rootFd, ROOT)! },
  ];
  const walk = (dir: TreePath, fd: number): void => {
    const folder = `/proc/self/fd/${fd}`;
    for (const name of readdirSync(folder, { encoding: 'buffer' })) {
      const stats = lstatSync(Buffer.concat([b(`${folder}/`), name]));
      if (stats.isSocket()) continue;
      entries.push({ dir, name, print: printOf(fd, name)! });
      if (!stats.isDirectory()) continue;
      const child = posix.check(posix.openDirAt(fd, name), 'openat');
      walk(joinPath(dir, name), child);
      posix.close(child);
    }
  };
  walk(ROOT, rootFd);
  return entries.sort(inOrder).map((entry) => [display(entry), entry.print]);
}
