import { lstatSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import * as posix from './index.ts';
import { b, isRoot, makeFile, statOf, testDir } from './test-dir.suite.ts';

const dir = testDir();

const ODD_NAMES = [
  b('plain'),
  b('new\nline'),
  Buffer.from([0xff, 0xfe, 0x01]),
  Buffer.alloc(255, 0xc3),
  b('.hidden'),
  b('..x'),
  b('...'),
  b(' '),
  b('ünïcödé'),
];

function listing(fd: number, bufferBytes?: number): Buffer[] {
  const reader = new posix.DirReader(fd, bufferBytes);
  const names: Buffer[] = [];
  while (reader.next()) names.push(Buffer.from(reader.name));
  return names.sort(Buffer.compare);
}

function subdir(name: string): number {
  posix.check(posix.mkdirat(dir.fd, b(name), 0o755), 'mkdirat');
  return posix.check(posix.openDirAt(dir.fd, b(name)), 'openat');
}

describe('names', () => {
  test('odd bytes come back as they were given', () => {
    const fd = subdir('odd');
    for (const name of ODD_NAMES) posix.close(makeFile(fd, name, 'x'));
    expect(listing(fd)).toEqual([...ODD_NAMES].sort(Buffer.compare));
    for (const name of ODD_NAMES) {
      expect(statOf(fd, name).size).toBe(1n);
      expect(posix.unlinkat(fd, name)).toBe(0);
    }
    posix.close(fd);
  });

  test('a name that would be cut or changed is refused, not shortened', () => {
    const stat = new posix.Stat();
    const withNul = b('plain\0tail');
    expect(posix.openat(dir.fd, withNul, posix.O_RDONLY)).toBe(-posix.EINVAL);
    expect(posix.statx(dir.fd, withNul, stat)).toBe(-posix.EINVAL);
    expect(posix.renameat(dir.fd, b('a'), dir.fd, withNul)).toBe(-posix.EINVAL);
    expect(posix.symlinkat(withNul, dir.fd, b('a'))).toBe(-posix.EINVAL);
    expect(posix.getXattr(dir.fd, b('user.a\0b'))).toBe(-posix.EINVAL);
    expect(posix.getXattrAt(dir.fd, withNul, b('user.a'))).toBe(-posix.EINVAL);
    expect(posix.mkdirat(dir.fd, Buffer.alloc(256, 'x'), 0o700)).toBe(-posix.ENAMETOOLONG);
    expect(posix.mkdirat(dir.fd, Buffer.alloc(4096, 'x'), 0o700)).toBe(-posix.ENAMETOOLONG);
    expect(posix.mkdirat(dir.fd, Buffer.alloc(100_000, 'x'), 0o700)).toBe(-posix.ENAMETOOLONG);
  });

  test('the longest path is taken whole', () => {
    const path = Buffer.alloc(4095, './');
    path[4094] = 0x2e;
    expect(posix.statx(dir.fd, path, new posix.Stat())).toBe(0);
  });

  test('a short name after a long one keeps nothing of it', () => {
    const stat = new posix.Stat();
    expect(posix.statx(dir.fd, Buffer.alloc(255, 'y'), stat)).toBe(-posix.ENOENT);
    const fd = makeFile(dir.fd, b('y'));
    expect(posix.statx(dir.fd, b('y'), stat)).toBe(0);
    posix.close(fd);
    expect(posix.unlinkat(dir.fd, b('y'))).toBe(0);
  });
});

describe('DirReader', () => {
  test('reads a big directory through a small buffer, with types and inodes', () => {
    const fd = subdir('many');
    for (let i = 0; i < 3000; i++) writeFileSync(join(dir.path, 'many', `file-${i}`), '');
    mkdirSync(join(dir.path, 'many', 'd'));
    symlinkSync('x', join(dir.path, 'many', 'l'));
    const reader = new posix.DirReader(fd, 1024);
    const types = new Map<number, number>();
    let count = 0;
    while (reader.next()) {
      count++;
      types.set(reader.type, (types.get(reader.type) ?? 0) + 1);
      if (count % 500 === 0) expect(reader.ino).toBe(statOf(fd, reader.name).ino);
    }
    expect(count).toBe(3002);
    expect(reader.next()).toBe(false);
    expect(types).toEqual(
      new Map([
        [posix.DT_REG, 3000],
        [posix.DT_DIR, 1],
        [posix.DT_LNK, 1],
      ]),
    );
    posix.close(fd);
  });

  test('serves one directory after another, also when the one before was left half read', () => {
    const empty = subdir('empty');
    const two = subdir('two');
    posix.close(makeFile(two, b('one')));
    posix.close(makeFile(two, b('other')));
    const reader = new posix.DirReader(two);
    expect(reader.next()).toBe(true);
    reader.reset(empty);
    expect(reader.next()).toBe(false);
    expect(posix.lseek(two, 0, posix.SEEK_SET)).toBe(0);
    reader.reset(two);
    expect([reader.next(), reader.next(), reader.next()]).toEqual([true, true, false]);
    posix.close(empty);
    posix.close(two);
  });

  test('a listing that fails throws, so that nothing passes for deleted', () => {
    const file = makeFile(dir.fd, b('not-a-dir'));
    const reader = new posix.DirReader(file);
    expect(() => reader.next()).toThrowError(
      expect.objectContaining({ code: 'ENOTDIR', syscall: 'getdents64' }),
    );
    posix.close(file);
    expect(() => reader.next()).toThrowError(expect.objectContaining({ code: 'EBADF' }));
    expect(() => new posix.DirReader(dir.fd, 10)).toThrow(RangeError);
  });

  test('a removed directory throws or is empty, never garbage', () => {
    const fd = subdir('gone');
    expect(posix.unlinkat(dir.fd, b('gone'), posix.AT_REMOVEDIR)).toBe(0);
    expect(() => listing(fd)).toThrowError(expect.objectContaining({ code: 'ENOENT' }));
    posix.close(fd);
  });
});

describe('making, linking, renaming, removing', () => {
  test('directories', () => {
    expect(posix.mkdirat(dir.fd, b('d'), 0o700)).toBe(0);
    expect(posix.mkdirat(dir.fd, b('d'), 0o700)).toBe(-posix.EEXIST);
    expect(statOf(dir.fd, b('d'))).toMatchObject({ type: posix.S_IFDIR, mode: 0o700 });
    expect(posix.unlinkat(dir.fd, b('d'))).toBe(-posix.EISDIR);
    expect(posix.unlinkat(dir.fd, b('d'), posix.AT_REMOVEDIR)).toBe(0);
  });

  test('symlinks hold any bytes up to the longest path', () => {
    const targets = [b('x'), Buffer.from([0xff, 0x0a, 0x2f]), Buffer.alloc(4095, 't')];
    for (const [i, target] of targets.entries()) {
      const name = b(`link-${i}`);
      expect(posix.symlinkat(target, dir.fd, name)).toBe(0);
      expect(posix.readlinkat(dir.fd, name)).toEqual(target);
      expect(statOf(dir.fd, name).type).toBe(posix.S_IFLNK);
      const fd = posix.openat(dir.fd, name, posix.O_PATH | posix.O_NOFOLLOW);
      expect(posix.readlinkat(fd, b(''))).toEqual(target);
      posix.close(fd);
    }
    expect(posix.readlinkat(dir.fd, b('none'))).toBe(-posix.ENOENT);
    expect(posix.readlinkat(dir.fd, b('not-a-dir'))).toBe(-posix.EINVAL);
  });

  test('a read link stays as it was when the next one is read', () => {
    const one = posix.readlinkat(dir.fd, b('link-0'));
    posix.readlinkat(dir.fd, b('link-2'));
    expect(one).toEqual(b('x'));
  });

  test('hard links', () => {
    posix.close(makeFile(dir.fd, b('h1'), 'same'));
    expect(posix.linkat(dir.fd, b('h1'), dir.fd, b('h2'))).toBe(0);
    expect(posix.linkat(dir.fd, b('h1'), dir.fd, b('h2'))).toBe(-posix.EEXIST);
    expect(statOf(dir.fd, b('h2')).nlink).toBe(2);
    expect(statOf(dir.fd, b('h2')).ino).toBe(statOf(dir.fd, b('h1')).ino);
  });

  test('rename replaces, renameat2 need not', () => {
    const fd = subdir('to');
    posix.close(makeFile(dir.fd, b('r1'), 'one'));
    posix.close(makeFile(fd, b('r2'), 'other'));
    expect(posix.renameat2(dir.fd, b('r1'), fd, b('r2'), posix.RENAME_NOREPLACE)).toBe(-posix.EEXIST);
    expect(posix.renameat(dir.fd, b('r1'), fd, b('r2'))).toBe(0);
    expect(statOf(fd, b('r2')).sizeNumber).toBe(3);
    expect(posix.renameat2(fd, b('r2'), fd, b('r3'), posix.RENAME_NOREPLACE)).toBe(0);
    expect(readdirSync(join(dir.path, 'to'))).toEqual(['r3']);
    posix.close(fd);
  });

  test('fifos and sockets', () => {
    expect(posix.mknodat(dir.fd, b('fifo'), posix.S_IFIFO | 0o600, 0, 0)).toBe(0);
    expect(posix.mknodat(dir.fd, b('sock'), posix.S_IFSOCK | 0o600, 0, 0)).toBe(0);
    expect(lstatSync(join(dir.path, 'fifo')).isFIFO()).toBe(true);
    expect(statOf(dir.fd, b('sock')).type).toBe(posix.S_IFSOCK);
  });

  test(`devices, ${isRoot ? 'with large numbers' : 'refused: not root here'}`, () => {
    const result = posix.mknodat(dir.fd, b('null'), posix.S_IFCHR | 0o600, 1, 3);
    if (!isRoot) {
      expect(result).toBe(-posix.EPERM);
      return;
    }
    expect(result).toBe(0);
    expect(posix.mknodat(dir.fd, b('big'), posix.S_IFBLK | 0o600, 4095, 0xfffff)).toBe(0);
    expect(statOf(dir.fd, b('null'))).toMatchObject({ type: posix.S_IFCHR, rdevMajor: 1, rdevMinor: 3 });
    expect(statOf(dir.fd, b('big'))).toMatchObject({
      type: posix.S_IFBLK,
      rdevMajor: 4095,
      rdevMinor: 0xfffff,
    });
  });

  test('a device number that the system cannot hold is refused, not shortened', () => {
    for (const [major, minor] of [
      [4096, 0],
      [0, 0x100000],
      [-1, 0],
    ] as const) {
      expect(posix.mknodat(dir.fd, b('device'), posix.S_IFCHR, major, minor)).toBe(-posix.EINVAL);
    }
  });
});
