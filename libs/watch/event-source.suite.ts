import {
  appendFileSync,
  chmodSync,
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import { fromSlashes } from '../model/tree-path.ts';
import {
  AT_FDCWD,
  check,
  close,
  mknodat,
  O_RDWR,
  open,
  RENAME_EXCHANGE,
  renameat2,
  S_IFIFO,
  setXattr,
} from '../posix/index.ts';
import { mountTmpfs, type Start, WatchRig } from './watch-rig.suite.ts';

export interface SourceUnderTest {
  readonly kind: 'fanotify' | 'inotify' | 'poll';
  readonly start: Start;
  /** Why it can't run here; undefined when it can. */
  readonly lacks?: string | undefined;
  /** Why nothing can be mounted here. */
  readonly noMounts?: string | undefined;
}

function exchange(a: Buffer, b: Buffer): void {
  check(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE), 'renameat2');
}

/** More than the kernel queues for one reader (fs.inotify and fs.fanotify max_queued_events are 16,384). */
const TOO_MANY = 20_000;

/** What every event source has to do. */
export function eventSourceSuite({ kind, start, lacks, noMounts }: SourceUnderTest): void {
  describe(`${kind}: what is reported`, () => {
    beforeEach((context) => {
      if (lacks !== undefined) context.skip(lacks);
    });

    it('each kind of change of a file, by its name', async () => {
      const rig = new WatchRig(start);
      for (const name of ['append', 'write', 'truncate', 'chmod', 'xattr', 'times', 'delete', 'still'])
        rig.write(name, 'content');
      await rig.follow();
      appendFileSync(rig.path('append'), 'more');
      writeFileSync(rig.path('write'), 'CONTENT');
      truncateSync(rig.path('truncate'), 1);
      chmodSync(rig.path('chmod'), 0o600);
      const fd = open(rig.path('xattr'), O_RDWR);
      check(setXattr(fd, Buffer.from('user.x'), Buffer.from('1')), 'fsetxattr');
      close(fd);
      utimesSync(rig.path('times'), 1, 1);
      unlinkSync(rig.path('delete'));
      rig.write('create');
      symlinkSync('nowhere', rig.path('symlink'));
      check(mknodat(AT_FDCWD, rig.path('fifo'), S_IFIFO | 0o600, 0, 0), 'mknodat');
      await rig.dirty('append', 'write', 'truncate', 'chmod', 'xattr', 'times', 'delete');
      await rig.dirty('create', 'symlink', 'fifo', '');
      await rig.settled();
      // Polling tells of young files once more.
      if (kind !== 'poll') expect(rig.reported.covers('still')).toBe(false);
      expect(rig.reported.states).toEqual([]);
    });

    it('a file that is written and stays open', async () => {
      const rig = new WatchRig(start);
      rig.write('log');
      await rig.follow();
      const fd = openSync(rig.path('log'), 'a');
      writeSync(fd, 'a line');
      await rig.dirty('log');
      closeSync(fd);
    });

    it('1,000 changes between two reads are one entry', async () => {
      const rig = new WatchRig(start);
      rig.write('often');
      const source = await rig.watch();
      for (let i = 0; i < 1000; i++) appendFileSync(rig.path('often'), `${i}`);
      const batch = await source.next();
      expect(batch?.entries.map(({ path }) => path.toString())).toContain('often');
      expect(batch?.entries.length).toBeLessThanOrEqual(2);
    });

    it('names of any bytes, 255 of them and newlines', async () => {
      const rig = new WatchRig(start);
      const names = ['\xff\xfe\x80', 'a\nb', ' \t', 'n'.repeat(255), '\\x41', `-${'\xc3'.repeat(254)}`];
      await rig.follow();
      for (const name of names) {
        mkdirSync(rig.path(`d${name.slice(1)}`));
        rig.write(`d${name.slice(1)}/${name}`);
        rig.write(name);
      }
      await rig.dirty(...names, ...names.map((name) => `d${name.slice(1)}/${name}`));
      await rig.forget();
      for (const name of names) rig.write(`d${name.slice(1)}/${name}`, 'again');
      await rig.until(({ entries }) => names.every((name) => entries.has(`d${name.slice(1)}/${name}`)));
    });

    it('a rename, within a directory, across directories and over an existing file', async () => {
      const rig = new WatchRig(start);
      rig.mkdir('d');
      for (const name of ['a', 'b', 'c', 'd/over']) rig.write(name);
      await rig.follow();
      renameSync(rig.path('a'), rig.path('a2'));
      renameSync(rig.path('b'), rig.path('d/b'));
      renameSync(rig.path('c'), rig.path('d/over'));
      await rig.dirty('a', 'a2', 'b', 'd/b', 'c', 'd/over', 'd', '');
    });

    it('what is moved into the root and out of it', async () => {
      const rig = new WatchRig(start);
      const outside = (name: string): string => join(rig.home, name);
      mkdirSync(outside('in/deep'), { recursive: true });
      writeFileSync(outside('in/deep/file'), '');
      writeFileSync(outside('in-file'), '');
      rig.mkdir('out/deep');
      rig.write('out-file');
      await rig.follow();
      renameSync(outside('in'), rig.path('in'));
      renameSync(outside('in-file'), rig.path('in-file'));
      renameSync(rig.path('out'), outside('out'));
      renameSync(rig.path('out-file'), outside('out-file'));
      await rig.dirty('in', 'in/deep', 'in/deep/file', 'in-file', 'out', 'out-file');
      await rig.forget();
      rig.write('in/deep/file', 'changed');
      writeFileSync(outside('out/deep/other'), '');
      await rig.dirty('in/deep/file');
      await rig.settled();
      expect([...rig.reported.entries.keys()].filter((path) => path.includes('out'))).toEqual([]);
    });

    it('a moved directory is dirty as a whole at its new place, and what happens in it has the new name', async () => {
      const rig = new WatchRig(start);
      rig.mkdir('a/b/c/d');
      rig.mkdir('to');
      rig.write('a/b/c/d/file');
      await rig.follow();
      renameSync(rig.path('a/b'), rig.path('to/b2'));
      await rig.until(({ subtrees }) => subtrees.has('to/b2'));
      if (kind !== 'poll') expect(rig.reported.subtrees.get('to/b2')).toBe('moved');
      await rig.dirty('a/b', 'a', 'to');
      await rig.forget();
      rig.write('to/b2/c/d/file', 'changed');
      rig.write('to/b2/c/d/other');
      await rig.until(({ entries }) => entries.has('to/b2/c/d/file') && entries.has('to/b2/c/d/other'));
      renameSync(rig.path('to'), rig.path('to2'));
      rig.write('to2/b2/c/d/third');
      await rig.dirty('to2/b2/c/d/third', 'to2/b2/c/d/file');
    });

    it('two directories that change places, and one that moves below what was in it', async () => {
      const rig = new WatchRig(start);
      rig.mkdir('a/in-a');
      rig.mkdir('b/in-b');
      rig.mkdir('up/low');
      await rig.follow();
      exchange(rig.path('a'), rig.path('b'));
      renameSync(rig.path('up/low'), rig.path('low'));
      renameSync(rig.path('up'), rig.path('low/up'));
      await rig.dirty('a/in-b', 'b/in-a', 'low', 'low/up');
      await rig.forget();
      rig.write('a/in-b/1');
      rig.write('b/in-a/2');
      rig.write('low/up/3');
      await rig.until(({ entries }) =>
        ['a/in-b/1', 'b/in-a/2', 'low/up/3'].every((path) => entries.has(path)),
      );
    });

    it('files that are made in directories as soon as these are there', async () => {
      const rig = new WatchRig(start);
      await rig.follow();
      const paths = Array.from({ length: 200 }, (_, i) => `m${i}/a/b/c`);
      for (const path of paths) {
        rig.mkdir(path);
        rig.write(`${path}/file`);
      }
      await rig.dirty(...paths.map((path) => `${path}/file`));
      await rig.forget();
      for (const path of paths) rig.write(`${path}/file`, 'changed');
      await rig.dirty(...paths.map((path) => `${path}/file`));
    });

    it('a tree that is deleted, and one that is made anew under its name', async () => {
      const rig = new WatchRig(start);
      rig.mkdir('t/a/b');
      rig.write('t/a/b/file');
      await rig.follow();
      rmSync(rig.path('t').toString(), { recursive: true });
      await rig.dirty('t');
      rig.mkdir('t/a/b');
      rig.write('t/a/b/file');
      await rig.dirty('t/a/b/file');
      await rig.forget();
      rig.write('t/a/b/file', 'changed');
      await rig.dirty('t/a/b/file');
    });

    it('a write through one name of a hard link, with the inode that its other names share', async () => {
      const rig = new WatchRig(start);
      rig.mkdir('d');
      rig.write('one');
      linkSync(rig.path('one'), rig.path('d/two'));
      await rig.follow();
      appendFileSync(rig.path('d/two'), 'more');
      const { ino } = statSync(rig.path('one'), { bigint: true });
      await rig.until(({ entries }) => ['one', 'd/two'].some((path) => entries.get(path)?.ino === ino));
      linkSync(rig.path('one'), rig.path('three'));
      await rig.until(({ entries }) => entries.get('three')?.ino === ino);
    });

    it('what happened before `sync`, by the time that it resolves', async () => {
      const rig = new WatchRig(start);
      const source = await rig.watch();
      await rig.follow();
      rig.mkdir('d');
      for (let i = 0; i < 50; i++) {
        rig.write(`d/f${i}`);
        await Promise.all([source.sync(), source.sync()]);
        await turn();
        expect(rig.reported.covers(`d/f${i}`)).toBe(true);
      }
      await source.close();
      await source.sync();
    });

    it('what lies below a symlink is not followed', async () => {
      const rig = new WatchRig(start);
      mkdirSync(join(rig.home, 'elsewhere'));
      symlinkSync('../elsewhere', rig.path('link'));
      await rig.follow();
      writeFileSync(join(rig.home, 'elsewhere/file'), '');
      await rig.settled();
      expect(rig.reported.covers('link/file')).toBe(false);
      unlinkSync(rig.path('link'));
      mkdirSync(rig.path('link'));
      rig.write('link/file');
      await rig.dirty('link/file');
    });

    it('nothing of excluded subtrees', async () => {
      const rig = new WatchRig(start);
      rig.mkdir('home/store/packs');
      rig.mkdir('home/rest');
      await rig.follow({ excluded: [fromSlashes('home/store')] });
      rig.write('home/store/packs/1');
      rig.write('home/store/2');
      rig.write('home/rest/3');
      await rig.dirty('home/rest/3');
      await rig.settled();
      expect([...rig.reported.entries.keys()].filter((path) => path.startsWith('home/store'))).toEqual([]);
    });

    it('what is made unreadable and readable again', async () => {
      const rig = new WatchRig(start);
      rig.mkdir('d/e');
      await rig.follow();
      chmodSync(rig.path('d'), 0);
      await rig.dirty('d');
      chmodSync(rig.path('d'), 0o755);
      rig.write('d/e/file');
      await rig.dirty('d/e/file');
    });
  });

  describe(`${kind}: states`, () => {
    beforeEach((context) => {
      if (lacks !== undefined) context.skip(lacks);
    });

    it('more than may gather is an overflow, with everything dirty, and watching goes on', async () => {
      const rig = new WatchRig(start);
      const source = await rig.watch({ maxPending: 100 });
      for (let i = 0; i < 300; i++) rig.write(`f${i}`);
      let batch = await source.next();
      while (!batch?.states.includes('overflow')) batch = await source.next();
      expect(batch.subtrees).toContainEqual({ path: Buffer.alloc(0), reason: 'lost' });
      rig.write('later');
      const isLater = (): boolean => batch!.entries.some(({ path }) => path.toString() === 'later');
      for (batch = await source.next(); batch && !isLater(); ) batch = await source.next();
      expect(batch).toBeDefined();
    });

    it('a root that is deleted ends it', async () => {
      const rig = new WatchRig(start);
      rig.mkdir('d');
      await rig.follow();
      rmSync(rig.tree, { recursive: true });
      await rig.until(({ states }) => states.includes('root-deleted'));
      await rig.until(() => rig.ended);
    });

    it('a root that is moved away ends it', async () => {
      const rig = new WatchRig(start);
      await rig.follow();
      renameSync(rig.tree, `${rig.tree}-2`);
      await rig.until(({ states }) => states.includes('root-deleted'));
    });

    it('another directory in place of the root ends it', async () => {
      const rig = new WatchRig(start);
      mkdirSync(`${rig.tree}-other`);
      await rig.follow();
      exchange(Buffer.from(rig.tree), Buffer.from(`${rig.tree}-other`));
      await rig.until(({ states }) => states.includes('root-replaced'));
      await rig.until(() => rig.ended);
    });

    it('so does one in place of a directory above the root', async () => {
      const rig = new WatchRig(start);
      await rig.follow();
      renameSync(rig.home, `${rig.home}-2`);
      try {
        await rig.until(({ states }) => states.includes('root-deleted'));
      } finally {
        renameSync(`${rig.home}-2`, rig.home);
      }
    });

    it('closed by its owner, it ends, with what it still had', async () => {
      const rig = new WatchRig(start);
      const source = await rig.watch();
      const next = source.next();
      await source.close();
      expect(await next).toEqual({ entries: [], subtrees: [], states: ['closed'] });
      expect(await source.next()).toBeUndefined();
      await source.close();
    });
  });

  describe(`${kind}: mounts`, () => {
    beforeEach((context) => {
      const reason = lacks ?? noMounts;
      if (reason !== undefined) context.skip(reason);
    });

    it('a root that is mounted can be unmounted, which ends it', async () => {
      const rig = new WatchRig(start);
      const mount = mountTmpfs(rig.tree);
      rig.mkdir('d');
      await rig.follow();
      rig.write('d/file');
      await rig.dirty('d/file');
      mount.umount();
      await rig.until(({ states }) => states.includes('unmounted'));
      await rig.until(() => rig.ended);
    });

    it('a file system that appears below the root is told, watched, and told when it goes', async () => {
      const rig = new WatchRig(start);
      rig.mkdir('m');
      await rig.follow();
      const mount = mountTmpfs(`${rig.tree}/m`);
      await rig.until(({ states, subtrees }) => states.includes('mount-changed') && subtrees.has('m'));
      await rig.forget();
      rig.mkdir('m/deep');
      rig.write('m/deep/file');
      await rig.dirty('m/deep/file');
      await rig.forget();
      mount.umount();
      await rig.until(({ states, subtrees }) => states.includes('mount-changed') && subtrees.has('m'));
      await rig.forget();
      rig.write('m/below');
      await rig.dirty('m/below');
    });
  });

  // Without a queue in the kernel nothing overflows there.
  if (kind === 'poll') return;
  describe(`${kind}: the kernel's queue`, () => {
    beforeEach((context) => {
      if (lacks !== undefined) context.skip(lacks);
    });

    it('overflows while the reader is held, and what was made meanwhile is watched', async () => {
      const rig = new WatchRig(start);
      rig.mkdir('known/moves');
      await rig.follow();
      for (let i = 0; i < TOO_MANY; i++) closeSync(openSync(rig.path(`f${i}`), 'w'));
      rig.mkdir('made/deep');
      renameSync(rig.path('known/moves'), rig.path('made/deep/moved'));
      await rig.until(({ states }) => states.includes('overflow'));
      expect(rig.reported.subtrees.get('')).toBe('lost');
      await rig.forget();
      rig.write('made/deep/file');
      rig.write('made/deep/moved/file');
      await rig.until(({ entries }) => entries.has('made/deep/file') && entries.has('made/deep/moved/file'));
    });
  });
}
