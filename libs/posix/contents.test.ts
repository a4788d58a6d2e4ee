import { describe, expect, test } from 'vitest';
import * as posix from './index.ts';
import { b, makeFile, testDir } from './test-dir.suite.ts';

const dir = testDir();
const MB = 1024 * 1024;

describe('reading and writing', () => {
  test('parts of buffers at positions', () => {
    const fd = makeFile(dir.fd, b('rw'));
    const data = b('0123456789');
    expect(posix.pwrite(fd, data, 2, 3, 4)).toBe(3);
    expect(posix.pwriteFully(fd, data, 0, 4, 0)).toBe(4);
    const target = Buffer.alloc(12, '-');
    expect(posix.pread(fd, target, 1, 10, 0)).toBe(7);
    expect(target.toString()).toBe('-0123234----');
    expect(posix.pread(fd, target, 0, 5, 7)).toBe(0);
    expect(posix.lseek(fd, 5, posix.SEEK_SET)).toBe(5);
    expect(posix.read(fd, target)).toBe(2);
    expect(posix.write(fd, data, 9)).toBe(1);
    expect(posix.lseek(fd, 0, posix.SEEK_END)).toBe(8);
    expect(posix.fsync(fd)).toBe(0);
    expect(posix.fdatasync(fd)).toBe(0);
    posix.close(fd);
    expect(posix.pread(fd, target, 0, 1, 0)).toBe(-posix.EBADF);
    expect(posix.writeFully(fd, data)).toBe(-posix.EBADF);
  });

  test('parts of larger memory, shared memory too, are read into directly', () => {
    const fd = makeFile(dir.fd, b('memory'), 'abcdef');
    for (const memory of [new ArrayBuffer(65_536), new SharedArrayBuffer(65_536)]) {
      const target = new Uint8Array(memory, 100, 200);
      expect(posix.pread(fd, target, 10, 6, 0)).toBe(6);
      expect(Buffer.from(new Uint8Array(memory).slice(109, 117)).toString()).toBe('\0abcdef\0');
    }
    posix.close(fd);
  });

  test('a range outside of the buffer never reaches the system', () => {
    const buffer = Buffer.alloc(8);
    for (const [offset, length] of [
      [0, 9],
      [8, 1],
      [-1, 2],
      [4, -1],
      [Number.NaN, 1],
      [0, Number.NaN],
      [0.5, 1],
    ] as const) {
      expect(() => posix.pread(dir.fd, buffer, offset, length, 0)).toThrow(RangeError);
      expect(() => posix.write(dir.fd, buffer, offset, length)).toThrow(RangeError);
    }
  });

  test('writeFully goes on after a short write', () => {
    const pipe = posix.S_IFIFO | 0o600;
    expect(posix.mknodat(dir.fd, b('pipe'), pipe, 0, 0)).toBe(0);
    const fd = posix.openat(dir.fd, b('pipe'), posix.O_RDWR | posix.O_NONBLOCK);
    const more = Buffer.alloc(MB, 1);
    const written = posix.write(fd, more);
    expect(written).toBeGreaterThan(0);
    expect(written).toBeLessThan(MB);
    expect(posix.writeFully(fd, more)).toBe(-posix.EAGAIN);
    posix.close(fd);
    const file = makeFile(dir.fd, b('full'));
    expect(posix.writeFully(file, more, 1)).toBe(MB - 1);
    expect(posix.lseek(file, 0, posix.SEEK_END)).toBe(MB - 1);
    posix.close(file);
  });

  test('a full disk is an error, not a short file', () => {
    const fd = posix.open('/dev/full', posix.O_WRONLY);
    expect(posix.writeFully(fd, b('x'))).toBe(-posix.ENOSPC);
    posix.close(fd);
  });
});

describe('large and sparse files', () => {
  const HUGE = 5 * 1024 * MB;

  test('positions above 2^32, and where data and holes are', () => {
    const fd = makeFile(dir.fd, b('sparse'));
    expect(posix.ftruncate(fd, HUGE + 10)).toBe(0);
    expect(posix.lseek(fd, 0, posix.SEEK_DATA)).toBe(-posix.ENXIO);
    expect(posix.pwriteFully(fd, Buffer.alloc(MB, 7), 0, MB, HUGE - MB)).toBe(MB);
    expect(posix.lseek(fd, 0, posix.SEEK_DATA)).toBe(HUGE - MB);
    expect(posix.lseek(fd, HUGE - MB, posix.SEEK_HOLE)).toBe(HUGE);
    const target = Buffer.alloc(4);
    expect(posix.pread(fd, target, 0, 4, HUGE - 2)).toBe(4);
    expect(target).toEqual(Buffer.from([7, 7, 0, 0]));
    const stat = new posix.Stat();
    posix.fstat(fd, stat);
    expect([stat.size, stat.sizeNumber]).toEqual([BigInt(HUGE + 10), HUGE + 10]);
    expect(stat.allocatedNumber).toBeLessThan(2 * MB);
    posix.close(fd);
  });

  test('punching a hole', () => {
    const fd = makeFile(dir.fd, b('punched'));
    posix.writeFully(fd, Buffer.alloc(MB, 1));
    const mode = posix.FALLOC_FL_PUNCH_HOLE | posix.FALLOC_FL_KEEP_SIZE;
    const result = posix.fallocate(fd, mode, 0, MB / 2);
    if (result !== -posix.EOPNOTSUPP) {
      expect(result).toBe(0);
      expect(posix.lseek(fd, 0, posix.SEEK_DATA)).toBe(MB / 2);
    }
    expect(posix.fallocate(fd, mode, 0, -1)).toBe(-posix.EINVAL);
    posix.close(fd);
  });
});
