import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect } from 'vitest';
import * as posix from './index.ts';

export const isRoot: boolean = posix.geteuid() === 0;
export const b = (text: string): Buffer => Buffer.from(text);

/** A temp directory of the test file with its descriptor; gone afterwards, with a check that none leaked. */
export function testDir(parent: string = tmpdir()): { path: string; fd: number } {
  const path = mkdtempSync(join(parent, 'posix-'));
  const before = openDescriptors();
  const fd = posix.open(path, posix.O_RDONLY | posix.O_DIRECTORY);
  afterAll(() => {
    posix.close(fd);
    rmSync(path, { recursive: true });
    expect(openDescriptors()).toEqual(before);
  });
  return { path, fd };
}

/** Descriptors of files below the temp directories; those of the test runner come and go. */
export function openDescriptors(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    const target = posix.readlinkat(posix.AT_FDCWD, b(`/proc/self/fd/${fd}`));
    return Buffer.isBuffer(target) && target.includes('/posix-') ? [`${fd} ${target}`] : [];
  });
}

/** Makes a file with this content and gives its descriptor. */
export function makeFile(dirfd: number, name: Buffer, content = ''): number {
  const fd = posix.openat(dirfd, name, posix.O_RDWR | posix.O_CREAT | posix.O_EXCL, 0o644);
  posix.check(fd, 'openat');
  posix.check(posix.writeFully(fd, b(content)), 'write');
  return fd;
}

export function statOf(dirfd: number, name: Buffer): posix.Stat {
  const stat = new posix.Stat();
  posix.check(posix.statx(dirfd, name, stat), 'statx', name);
  return stat;
}
