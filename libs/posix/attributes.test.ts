import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { chmodByHandle } from './attributes.ts';
import * as posix from './index.ts';
import { b, isRoot, makeFile, statOf, testDir } from './test-dir.suite.ts';

const dir = testDir();

describe('statx', () => {
  test('only size, times of modification and change tell of another content', () => {
    const fd = makeFile(dir.fd, b('same'), 'hello');
    const [one, other] = [new posix.Stat(), new posix.Stat()];
    posix.fstat(fd, one);
    posix.close(fd);
    const { size, mtimeSec, mtimeNsec, ctimeSec, ctimeNsec, atimeSec, mode, nlink, ino } =
      posix.STATX_OFFSETS;
    const withOther = (offset: number): boolean => {
      one.buffer.copy(other.buffer);
      other.buffer[offset]! ^= 1;
      return one.hasTimesAndSizeOf(other);
    };
    for (const at of [size, mtimeSec, ctimeSec])
      expect([withOther(at), withOther(at + 7)]).toEqual([false, false]);
    for (const at of [mtimeNsec, ctimeNsec])
      expect([withOther(at), withOther(at + 3)]).toEqual([false, false]);
    for (const at of [atimeSec, mode, nlink, ino]) expect(withOther(at)).toBe(true);
  });

  test('agrees with lstat on every field', () => {
    const fd = makeFile(dir.fd, b('f'), 'hello');
    posix.fchmod(fd, 0o4751);
    const stat = new posix.Stat();
    expect(posix.fstat(fd, stat)).toBe(0);
    const known = lstatSync(join(dir.path, 'f'), { bigint: true });
    expect(stat.type).toBe(posix.S_IFREG);
    expect(stat.mode).toBe(Number(known.mode) & 0o7777);
    expect([stat.uid, stat.gid, stat.nlink]).toEqual([known.uid, known.gid, known.nlink].map(Number));
    expect([stat.ino, stat.size]).toEqual([known.ino, known.size]);
    expect(stat.allocatedNumber).toBe(Number(known.blocks) * 512);
    expect(stat.sizeNumber).toBe(5);
    expect(stat.mtimeSec * 1_000_000_000n + BigInt(stat.mtimeNsec)).toBe(known.mtimeNs);
    expect(stat.ctimeSec * 1_000_000_000n + BigInt(stat.ctimeNsec)).toBe(known.ctimeNs);
    const major = ((known.dev >> 8n) & 0xfffn) | ((known.dev >> 32n) & 0xfffff000n);
    expect(stat.devMajor).toBe(Number(major));
    expect(stat.dev >> 32n).toBe(major);
    expect(stat.dev & 0xffffffffn).toBe(BigInt(stat.devMinor));
    posix.close(fd);
  });

  test('the offsets name the raw bytes', () => {
    const { buffer, ino, mtimeNsec, mode, type } = statOf(dir.fd, b('f'));
    expect(buffer.length).toBe(256);
    expect(buffer.readBigUInt64LE(posix.STATX_OFFSETS.ino)).toBe(ino);
    expect(buffer.readUInt32LE(posix.STATX_OFFSETS.mtimeNsec)).toBe(mtimeNsec);
    expect(buffer.readUInt16LE(posix.STATX_OFFSETS.mode)).toBe(mode | type);
  });

  test('mount points are known by id and flag', () => {
    const proc = statOf(posix.AT_FDCWD, b('/proc'));
    const within = statOf(posix.AT_FDCWD, b('/proc/self/status'));
    expect(proc.mountId).toBe(within.mountId);
    expect(proc.mountId).not.toBe(statOf(dir.fd, b('f')).mountId);
    expect([proc.isMountRoot, within.isMountRoot]).toEqual([true, false]);
  });

  test('the struct cannot be transferred away under the system', () => {
    const { buffer } = new posix.Stat();
    expect(() => structuredClone(buffer.buffer, { transfer: [buffer.buffer as ArrayBuffer] })).toThrow();
  });

  test('errors are negative numbers', () => {
    const stat = new posix.Stat();
    expect(posix.statx(dir.fd, b('none'), stat)).toBe(-posix.ENOENT);
    expect(posix.statx(dir.fd, b('f/below'), stat)).toBe(-posix.ENOTDIR);
    expect(posix.statx(9999, b('f'), stat)).toBe(-posix.EBADF);
    expect(posix.statx(dir.fd, b(''), stat)).toBe(-posix.ENOENT);
  });
});

const TIMES: [string, bigint, number][] = [
  ['1960', -315_619_200n, 123_456_789],
  ['just before 1970', -1n, 999_999_999],
  ['1970', 0n, 1],
  ['2100', 4_102_444_800n, 987_654_321],
  ['2200', 7_258_118_400n, 1],
];

describe('times', () => {
  test.each(TIMES)('%s to the nanosecond', (_, sec, nsec) => {
    const stat = new posix.Stat();
    expect(posix.utimensat(dir.fd, b('f'), sec, nsec)).toBe(0);
    expect(statOf(dir.fd, b('f'))).toMatchObject({ mtimeSec: sec, mtimeNsec: nsec });
    const fd = posix.openDirAt(dir.fd, b('.'));
    expect(posix.futimens(fd, sec, nsec)).toBe(0);
    posix.fstat(fd, stat);
    expect([stat.mtimeSec, stat.mtimeNsec]).toEqual([sec, nsec]);
    posix.close(fd);
  });

  test('of a symlink, not of what it points to; the access time stays', () => {
    const at = posix.STATX_OFFSETS.atimeSec;
    expect(posix.symlinkat(b('f'), dir.fd, b('to-f'))).toBe(0);
    const before = Buffer.from(statOf(dir.fd, b('to-f')).buffer.subarray(at, at + 12));
    const target = statOf(dir.fd, b('f')).mtimeSec;
    expect(posix.utimensat(dir.fd, b('to-f'), 5n, 6)).toBe(0);
    const link = statOf(dir.fd, b('to-f'));
    expect(link).toMatchObject({ mtimeSec: 5n, mtimeNsec: 6 });
    expect(link.buffer.subarray(at, at + 12)).toEqual(before);
    expect(statOf(dir.fd, b('f')).mtimeSec).toBe(target);
    expect(posix.utimensat(dir.fd, b('f'), 5n, 1_000_000_000)).toBe(-posix.EINVAL);
  });
});

describe.each([
  ['fchmodat', posix.fchmodat],
  ['chmodByHandle, for kernels without fchmodat2', chmodByHandle],
])('%s', (_, chmod) => {
  test('sets all twelve bits of files, directories and fifos', () => {
    posix.mkdirat(dir.fd, b('d'), 0o700);
    posix.mknodat(dir.fd, b('p'), posix.S_IFIFO | 0o600, 0, 0);
    for (const name of ['f', 'd', 'p']) {
      for (const mode of [0o7777, 0o000, 0o644]) {
        expect(chmod(dir.fd, b(name), mode)).toBe(0);
        expect(statOf(dir.fd, b(name)).mode & (isRoot ? 0o7777 : 0o777)).toBe(
          mode & (isRoot ? 0o7777 : 0o777),
        );
      }
    }
  });

  test('a file swapped for a symlink leaves its target alone', () => {
    expect(posix.fchmodat(dir.fd, b('f'), 0o640)).toBe(0);
    expect(chmod(dir.fd, b('to-f'), 0o777)).toBe(-posix.EOPNOTSUPP);
    expect(statOf(dir.fd, b('f')).mode).toBe(0o640);
    expect(chmod(dir.fd, b('none'), 0o777)).toBe(-posix.ENOENT);
  });
});

test(`owners of files and symlinks, ${isRoot ? 'above 2^31 too' : 'refused: not root here'}`, () => {
  const mine = posix.fchownat(dir.fd, b('f'), posix.getuid(), -1);
  const others = posix.fchownat(dir.fd, b('to-f'), 3_000_000_000, 4_000_000_000);
  expect(mine).toBe(0);
  if (!isRoot) {
    expect(others).toBe(-posix.EPERM);
    return;
  }
  expect(others).toBe(0);
  expect(statOf(dir.fd, b('to-f'))).toMatchObject({ uid: 3_000_000_000, gid: 4_000_000_000 });
  expect(statOf(dir.fd, b('f')).uid).toBe(posix.getuid());
});

test('the user and the file system', () => {
  expect(posix.getuid()).toBe(process.getuid?.());
  expect(posix.geteuid()).toBe(process.geteuid?.());
  const proc = posix.open('/proc', posix.O_RDONLY);
  expect(posix.fstatfsType(proc)).toBe(posix.FS_TYPE.proc);
  posix.close(proc);
  expect(posix.fstatfsType(9999)).toBe(-posix.EBADF);
  expect([posix.FS_TYPE.cifs, posix.FS_TYPE.ext4].map(posix.isNetworkFs)).toEqual([true, false]);
});
