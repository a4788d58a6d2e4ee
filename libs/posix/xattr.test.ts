import { describe, expect, test } from 'vitest';
import * as posix from './index.ts';
import { b, isRoot, makeFile, testDir } from './test-dir.suite.ts';

const dir = testDir();
const VALUES = [b(''), b('text'), Buffer.from([0, 0xff, 0x0a, 0]), Buffer.alloc(1500, 0xee)];

describe.each(['file', 'directory'])('attributes of a %s', (kind) => {
  test('set, list, get, remove by descriptor and by name', () => {
    const name = b(kind);
    if (kind === 'directory') posix.mkdirat(dir.fd, name, 0o755);
    else posix.close(makeFile(dir.fd, name));
    const fd = posix.check(posix.openat(dir.fd, name, posix.O_RDONLY), 'openat');
    expect(posix.listXattrs(fd)).toEqual([]);
    const odd = Buffer.concat([b('user.'), Buffer.from([0xff, 0x0a])]);
    for (const value of VALUES) {
      expect(posix.setXattr(fd, odd, value)).toBe(0);
      expect(posix.getXattr(fd, odd)).toEqual(value);
      expect(posix.getXattrAt(dir.fd, name, odd)).toEqual(value);
    }
    expect(posix.setXattrAt(dir.fd, name, b('user.b'), b('1'))).toBe(0);
    expect(posix.setXattr(fd, b('user.a'), b('2'))).toBe(0);
    expect(posix.listXattrs(fd)).toEqual([b('user.a'), b('user.b'), odd]);
    expect(posix.listXattrsAt(dir.fd, name)).toEqual([b('user.a'), b('user.b'), odd]);
    expect(posix.removeXattr(fd, b('user.a'))).toBe(0);
    expect(posix.removeXattrAt(dir.fd, name, odd)).toBe(0);
    expect(posix.listXattrs(fd)).toEqual([b('user.b')]);
    expect(posix.getXattr(fd, odd)).toBe(-posix.ENODATA);
    expect(posix.removeXattrAt(dir.fd, name, odd)).toBe(-posix.ENODATA);
    posix.close(fd);
  });
});

test('a value stays as it was when the next one is read', () => {
  const fd = posix.openat(dir.fd, b('file'), posix.O_RDONLY);
  posix.setXattr(fd, b('user.one'), b('one'));
  const one = posix.getXattr(fd, b('user.one'));
  const names = posix.listXattrs(fd);
  posix.getXattr(fd, b('user.b'));
  expect(one).toEqual(b('one'));
  expect(names).toEqual([b('user.b'), b('user.one')]);
  posix.close(fd);
});

const make: Record<string, (name: Buffer) => number> = {
  symlink: (name) => posix.symlinkat(b('file'), dir.fd, name),
  fifo: (name) => posix.mknodat(dir.fd, name, posix.S_IFIFO | 0o600, 0, 0),
  socket: (name) => posix.mknodat(dir.fd, name, posix.S_IFSOCK | 0o600, 0, 0),
};

describe.each(Object.keys(make))('attributes of a %s', (kind) => {
  const name = Buffer.concat([b(kind), Buffer.from([0xff, 0x0a])]);
  const key = b('trusted.tidemark');

  test(isRoot ? 'trusted ones, without following' : 'trusted ones are refused: not root here', () => {
    expect(make[kind]?.(name)).toBe(0);
    const result = posix.setXattrAt(dir.fd, name, key, b('v'));
    if (!isRoot) {
      expect(result).toBe(-posix.EPERM);
      return;
    }
    expect(result).toBe(0);
    expect(posix.getXattrAt(dir.fd, name, key)).toEqual(b('v'));
    expect(posix.listXattrsAt(dir.fd, name)).toEqual([key]);
    expect(posix.getXattrAt(dir.fd, b('file'), key)).toBe(-posix.ENODATA);
    expect(posix.removeXattrAt(dir.fd, name, key)).toBe(0);
    expect(posix.listXattrsAt(dir.fd, name)).toEqual([]);
  });

  test('user ones are refused by the system', () => {
    expect(posix.setXattrAt(dir.fd, name, b('user.x'), b('v'))).toBe(-posix.EPERM);
  });
});

test('a list that is longer than what the system is offered first', () => {
  const name = b('many');
  const fd = makeFile(dir.fd, name);
  const names = Array.from({ length: 40 }, (_, i) => b(`user.${String(i).padStart(20, '0')}`));
  for (const one of names) expect(posix.setXattr(fd, one, b(''))).toBe(0);
  expect(posix.listXattrs(fd)).toEqual(names);
  expect(posix.listXattrsAt(dir.fd, name)).toEqual(names);
  posix.close(fd);
});

test('errors', () => {
  expect(posix.listXattrsAt(dir.fd, b('none'))).toBe(-posix.ENOENT);
  expect(posix.listXattrs(9999)).toBe(-posix.EBADF);
  expect(posix.setXattrAt(dir.fd, b('file'), b('user.x'), Buffer.alloc(70_000))).toBe(-posix.E2BIG);
  expect(posix.listXattrsAt(posix.AT_FDCWD, b(`${dir.path}/file`))).toEqual([b('user.b'), b('user.one')]);
});

test('a handle that /proc does not show is no missing file', () => {
  expect(posix.listXattrsAt(9999, b('file'))).toBe(-posix.ENOSYS);
});
