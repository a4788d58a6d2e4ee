import { once } from 'node:events';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import * as posix from '../posix/index.ts';
import { ExcludeRules } from './excludes.ts';
import { b, isRoot, openBelow, type Rig, useRig } from './scan-rig.suite.ts';

function makeTree(rig: Rig): void {
  mkdirSync(rig.path('a', 'deep', 'er'), { recursive: true });
  mkdirSync(rig.path('empty'));
  mkdirSync(rig.path('a!'));
  writeFileSync(rig.path('a', 'one'), '1');
  writeFileSync(rig.path('a', 'deep', 'two'), '22');
  writeFileSync(rig.path('a', 'deep', 'er', 'three'), '333');
  writeFileSync(rig.path('a!', 'four'), '4444');
  writeFileSync(rig.path('top'), '');
  symlinkSync('a/one', rig.path('link'));
  posix.check(posix.mknodat(rig.rootFd, b('pipe'), posix.S_IFIFO | 0o600, 0, 0), 'mknod');
}

const TREE = [
  '.',
  'a',
  'a!',
  'empty',
  'link',
  'pipe',
  'top',
  'a/deep',
  'a/one',
  'a/deep/er',
  'a/deep/two',
  'a/deep/er/three',
  'a!/four',
];

describe('a scan', () => {
  it('gives everything as work when there is no state, in the order of (dir, name) in the new state', () => {
    const rig = useRig();
    makeTree(rig);
    const found = rig.scan();
    expect(found.work).toEqual(TREE);
    expect(found.gone).toEqual([]);
    expect(found.totals).toEqual({ files: 5, directories: 6, others: 2, bytes: 10, unchanged: 0 });
    rig.expectBackupIsTree();
  });

  it('gives no work when nothing changed', () => {
    const rig = useRig();
    makeTree(rig);
    rig.scan();
    const found = rig.scan();
    expect(found).toMatchObject({ work: [], gone: [], kept: [], notes: [], batches: 0 });
    expect(found.totals).toEqual({ files: 5, directories: 6, others: 2, bytes: 10, unchanged: 13 });
  });

  it('gives what changed, what is new and what is gone', () => {
    const rig = useRig();
    makeTree(rig);
    rig.scan();
    appendFileSync(rig.path('a', 'one'), 'x');
    chmodSync(rig.path('a!', 'four'), 0o600);
    rmSync(rig.path('a', 'deep'), { recursive: true });
    writeFileSync(rig.path('new'), 'n');
    const found = rig.scan();
    expect(found.work).toEqual(['.', 'a', 'new', 'a/one', 'a!/four']);
    expect(found.gone).toEqual(['a/deep', 'a/deep/er', 'a/deep/two', 'a/deep/er/three']);
    rig.expectBackupIsTree();
  });

  it('gives everything with the known hashes when all is to be read', () => {
    const rig = useRig();
    makeTree(rig);
    rig.scan();
    unlinkSync(rig.path('top'));
    const found = rig.scan({ readAll: true });
    expect(found.work).toEqual(TREE.filter((path) => path !== 'top'));
    expect(found.gone).toEqual(['top']);
  });

  it('follows a directory that became a file, and a file that became a directory', () => {
    const rig = useRig();
    makeTree(rig);
    rig.scan();
    rmSync(rig.path('a'), { recursive: true });
    writeFileSync(rig.path('a'), 'now a file');
    unlinkSync(rig.path('top'));
    mkdirSync(rig.path('top'));
    writeFileSync(rig.path('top', 'x'), '');
    const found = rig.scan();
    expect(found.gone).toEqual(['a/deep', 'a/one', 'a/deep/er', 'a/deep/two', 'a/deep/er/three']);
    expect(found.work).toEqual(['.', 'a', 'top', 'top/x']);
    rig.expectBackupIsTree();
  });

  it('takes names of any bytes', () => {
    const rig = useRig();
    const names = [
      Buffer.from([0xff]),
      Buffer.from([0xc3, 0x28]),
      b('new\nline'),
      b(' '),
      b('ä'),
      Buffer.alloc(255, 0x80),
    ];
    for (const name of names) posix.check(posix.mkdirat(rig.rootFd, name, 0o755), 'mkdir');
    expect(rig.scan().work).toHaveLength(1 + names.length);
    rig.expectBackupIsTree();
    expect(rig.scan().work).toEqual([]);
  });

  it('takes a directory of 20,000 names in batches within the limits', () => {
    const rig = useRig('/dev/shm');
    mkdirSync(rig.path('many'));
    for (let i = 0; i < 20_000; i++)
      writeFileSync(rig.path('many', `name ${i}`), i % 1000 === 0 ? 'x'.repeat(3000) : '');
    const found = rig.scan({ limits: { maxEntries: 100, maxBytes: 4000 } });
    expect(found.work).toHaveLength(20_002);
    expect(found.largestBatch).toBe(100);
    unlinkSync(rig.path('many', 'name 77'));
    appendFileSync(rig.path('many', 'name 19999'), '.');
    const next = rig.scan();
    expect(next.work).toEqual(['many', 'many/name 19999']);
    expect(next.gone).toEqual(['many/name 77']);
    rmSync(rig.path('many'), { recursive: true });
    expect(rig.scan().gone).toHaveLength(20_000);
  });

  it('walks 300 levels with few open descriptors, and comes back to names on the way', () => {
    const rig = useRig();
    let path = rig.tree;
    for (let i = 0; i < 300; i++) {
      path = join(path, 'd');
      mkdirSync(path);
      mkdirSync(join(path, '..', 'e'));
      writeFileSync(join(path, '..', 'e', 'f'), '');
    }
    let most = 0;
    const found = rig.scan({
      limits: { maxEntries: 8, maxBytes: 1 },
      before: () => {
        most = Math.max(most, openBelow(rig.tree).length);
      },
    });
    expect(found.work).toHaveLength(901);
    expect(most).toBeGreaterThan(60);
    expect(most).toBeLessThan(80);
    rig.expectBackupIsTree();
    expect(rig.scan().work).toEqual([]);
  });

  it('reports paths that are too long once for each directory, and backs up the rest', () => {
    const rig = useRig();
    const name = Buffer.alloc(200, 0x78);
    let fd = posix.check(posix.openDirAt(rig.rootFd, b('.')), 'openat');
    for (let depth = 1; depth <= 21; depth++) {
      posix.check(posix.mkdirat(fd, name, 0o755), 'mkdir');
      posix.check(posix.mkdirat(fd, b('y'), 0o755), 'mkdir');
      const next = posix.check(posix.openDirAt(fd, name), 'openat');
      posix.close(fd);
      fd = next;
    }
    posix.close(fd);
    const found = rig.scan();
    const deepest = Array.from({ length: 20 }, () => name.toString()).join('/');
    expect(found.notes).toEqual([`1112 ${deepest}`]);
    expect(found.work).toHaveLength(1 + 20 + 21);
  });

  it('reports sockets and leaves them out', async () => {
    const rig = useRig();
    writeFileSync(rig.path('s'), '');
    rig.scan();
    unlinkSync(rig.path('s'));
    const server = createServer().listen(rig.path('s'));
    await once(server, 'listening');
    const found = rig.scan();
    expect(found).toMatchObject({ work: ['.'], gone: ['s'], notes: ['1114 s'] });
    expect(rig.scan()).toMatchObject({ work: [], gone: [], notes: ['1114 s'] });
    server.close();
    await once(server, 'close');
  });

  it('keeps the directories of a batch open until it is released', () => {
    const rig = useRig();
    makeTree(rig);
    expect(rig.scan({ readAtTheEnd: true, limits: { maxEntries: 2, maxBytes: 1 } }).work).toEqual(TREE);
    rig.expectBackupIsTree();
  });
});

describe('what can not be read keeps its last version', () => {
  it('a directory that may not be listed, and all below it', () => {
    const rig = useRig();
    makeTree(rig);
    rig.scan();
    chmodSync(rig.path('a'), 0o000);
    chmodSync(rig.path('a!'), 0o000);
    const before = new Map(rig.backup);
    const found = rig.scan({ asNobody: true });
    expect(found).toMatchObject({ work: [], gone: [], kept: ['1110 a', '1110 a!'] });
    expect(rig.backup).toEqual(before);
    expect(rig.scan({ asNobody: true }).kept).toEqual(['1110 a', '1110 a!']);
    chmodSync(rig.path('a'), 0o755);
    chmodSync(rig.path('a!'), 0o755);
    unlinkSync(rig.path('a', 'one'));
    expect(rig.scan()).toMatchObject({ work: ['a', 'a!'], gone: ['a/one'], kept: [] });
    rig.expectBackupIsTree();
  });

  it('what lies in a directory that may be listed but not entered', () => {
    const rig = useRig();
    makeTree(rig);
    rig.scan();
    chmodSync(rig.path('a'), 0o444);
    const before = new Map(rig.backup);
    const found = rig.scan({ asNobody: true });
    expect(found).toMatchObject({ gone: [], kept: ['1110 a/deep', '1110 a/one'] });
    expect([...rig.backup.keys()]).toEqual([...before.keys()]);
    chmodSync(rig.path('a'), 0o755);
    rig.scan();
    rig.expectBackupIsTree();
  });

  it('a new directory that may not be listed is reported and absent', () => {
    const rig = useRig();
    rig.scan();
    mkdirSync(rig.path('secret'), 0o700);
    if (isRoot) chownSync(rig.path('secret'), 0, 0);
    else chmodSync(rig.path('secret'), 0);
    expect(rig.scan({ asNobody: true })).toMatchObject({ work: ['.'], kept: ['1110 secret'] });
    chmodSync(rig.path('secret'), 0o755);
    expect(rig.scan().work).toEqual(['secret']);
  });
});

describe('a tree that changes during the walk', () => {
  const oneByOne = { limits: { maxEntries: 1, maxBytes: 1 } };

  it('a directory swapped for a symlink is not followed', () => {
    const rig = useRig();
    mkdirSync(join(rig.home, 'outside'));
    writeFileSync(join(rig.home, 'outside', 'secret'), '');
    makeTree(rig);
    rig.scan();
    writeFileSync(rig.path('changed'), '');
    const found = rig.scan({
      ...oneByOne,
      before: (step) => {
        if (step !== 2) return;
        rmSync(rig.path('a'), { recursive: true });
        symlinkSync(join(rig.home, 'outside'), rig.path('a'));
      },
    });
    expect(found).toMatchObject({ work: ['.', 'changed'], gone: [], kept: ['1110 a'] });
    const next = rig.scan();
    expect(next.gone).toEqual(['a/deep', 'a/one', 'a/deep/er', 'a/deep/two', 'a/deep/er/three']);
    rig.expectBackupIsTree();
  });

  it('a directory that vanishes after its listing is gone with all below it', () => {
    const rig = useRig();
    makeTree(rig);
    rig.scan();
    writeFileSync(rig.path('changed'), '');
    const found = rig.scan({
      ...oneByOne,
      before: (step) => {
        if (step === 2) rmSync(rig.path('a'), { recursive: true });
      },
    });
    expect(found.gone).toEqual(['a', 'a/deep', 'a/one', 'a/deep/er', 'a/deep/two', 'a/deep/er/three']);
    expect(found.totals).toMatchObject({ directories: 3, unchanged: 6 });
    expect(rig.scan().work).toEqual(['.']);
    rig.expectBackupIsTree();
  });

  it('a directory that was replaced while it was closed deletes nothing', () => {
    const rig = useRig();
    const deep = rig.path(...Array.from({ length: 80 }, () => 'd'));
    mkdirSync(deep, { recursive: true });
    mkdirSync(rig.path('d', 'z'));
    writeFileSync(rig.path('d', 'z', 'file'), '');
    writeFileSync(join(deep, 'changed'), '');
    rig.scan();
    appendFileSync(join(deep, 'changed'), 'x');
    const found = rig.scan({
      ...oneByOne,
      before: (step) => {
        if (step !== 1) return;
        renameSync(rig.path('d'), join(rig.home, 'moved'));
        mkdirSync(rig.path('d'));
      },
    });
    expect(found).toMatchObject({ gone: [], kept: ['1110 d/z'] });
    expect(found.work).toHaveLength(1);
    expect(rig.scan().gone).toHaveLength(79 + 1 + 2);
    rig.expectBackupIsTree();
  });

  it('a new entry that vanishes before it is read was never there', () => {
    const rig = useRig();
    makeTree(rig);
    rig.scan({ read: (_, item) => (item.name.equals(b('one')) ? undefined : '?') });
    expect(rig.scan().work).toEqual(['a/one']);
  });
});

describe('trust', () => {
  it('a timestamp within the granularity of the scan is not trusted at the next one', () => {
    const rig = useRig();
    writeFileSync(rig.path('recent'), '');
    writeFileSync(rig.path('other'), '');
    const { ctimeMs } = statSync(rig.path('recent'));
    const startedAt = BigInt(Math.floor(ctimeMs)) * 1_000_000n;
    rig.scan({ startedAt });
    expect(rig.scan({ startedAt: startedAt + 3_600_000_000_000n }).work).toEqual(['.', 'other', 'recent']);
    expect(rig.scan().work).toEqual([]);
  });

  it('a time of modification far ahead does not make a file be read for ever', () => {
    const rig = useRig();
    writeFileSync(rig.path('f'), '');
    utimesSync(rig.path('f'), new Date('2100-01-01'), new Date('2100-01-01'));
    rig.scan();
    expect(rig.scan().work).toEqual([]);
  });

  it('an entry that was read badly is read again', () => {
    const rig = useRig();
    makeTree(rig);
    rig.scan({ trusted: false });
    expect(rig.scan().work).toEqual(TREE);
    expect(rig.scan().work).toEqual([]);
  });

  it('a change that leaves size and mtime alone is seen by its ctime', () => {
    const rig = useRig();
    writeFileSync(rig.path('f'), 'old');
    const time = new Date('2020-01-01');
    utimesSync(rig.path('f'), time, time);
    rig.scan();
    const before = statSync(rig.path('f'), { bigint: true }).ctimeNs;
    while (statSync(rig.path('f'), { bigint: true }).ctimeNs === before) {
      writeFileSync(rig.path('f'), 'new');
      utimesSync(rig.path('f'), time, time);
    }
    expect(rig.scan().work).toEqual(['f']);
    rig.expectBackupIsTree();
  });
});

describe('what is left out', () => {
  it('excluded paths are gone from the backup, and come back', () => {
    const rig = useRig();
    makeTree(rig);
    rig.scan();
    const excludes = new ExcludeRules(['deep/', 'top', '/a!/four']);
    const gone = ['top', 'a/deep', 'a/deep/er', 'a/deep/two', 'a/deep/er/three', 'a!/four'];
    expect(rig.scan({ excludes })).toMatchObject({ work: [], gone });
    expect(rig.scan({ excludes })).toMatchObject({ work: [], gone: [] });
    expect(rig.scan().work).toEqual(gone);
    rig.expectBackupIsTree();
  });

  it('skipped directories are no part of the source', () => {
    const rig = useRig();
    makeTree(rig);
    rig.scan();
    const stat = new posix.Stat();
    posix.check(posix.statx(rig.rootFd, b('a'), stat), 'statx');
    const { devMajor, devMinor, ino } = stat;
    const found = rig.scan({ skip: [{ devMajor, devMinor, ino }] });
    expect(found.gone).toEqual(TREE.filter((path) => path === 'a' || path.startsWith('a/')));
  });
});
