import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import * as posix from './index.ts';
import { b, makeFile, openDescriptors, testDir } from './test-dir.suite.ts';

const dir = testDir();
const index = new URL('./index.ts', import.meta.url).href;

describe('open', () => {
  test('descriptors are close-on-exec', () => {
    const fd = makeFile(dir.fd, b('cloexec'));
    const info = posix.open(`/proc/self/fdinfo/${fd}`, posix.O_RDONLY);
    const text = Buffer.alloc(200);
    posix.read(info, text);
    const flags = Number.parseInt(/flags:\s*([0-7]+)/.exec(text.toString())?.[1] ?? '', 8);
    expect(flags & posix.O_CLOEXEC).toBe(posix.O_CLOEXEC);
    posix.close(info);
    posix.close(fd);
  });

  test('a missing path throws with errno, code and syscall', () => {
    expect(() => posix.open(`${dir.path}/none`, posix.O_RDONLY)).toThrowError(
      expect.objectContaining({ errno: posix.ENOENT, code: 'ENOENT', syscall: 'open' }),
    );
    expect(posix.openat(dir.fd, b('none'), posix.O_RDONLY)).toBe(-posix.ENOENT);
  });

  test('a directory swapped for a symlink is refused', () => {
    expect(posix.mkdirat(dir.fd, b('real'), 0o755)).toBe(0);
    posix.close(posix.check(posix.openDirAt(dir.fd, b('real')), 'openat'));
    expect(posix.renameat(dir.fd, b('real'), dir.fd, b('moved'))).toBe(0);
    expect(posix.symlinkat(b('moved'), dir.fd, b('real'))).toBe(0);
    expect([-posix.ELOOP, -posix.ENOTDIR]).toContain(posix.openDirAt(dir.fd, b('real')));
    expect(posix.openat(dir.fd, b('real'), posix.O_RDONLY | posix.O_NOFOLLOW)).toBe(-posix.ELOOP);
  });

  test('a directory swapped for a fifo does not block', () => {
    expect(posix.mknodat(dir.fd, b('fifo'), posix.S_IFIFO | 0o600, 0, 0)).toBe(0);
    expect(posix.openDirAt(dir.fd, b('fifo'))).toBe(-posix.ENOTDIR);
  });

  test('openat2 stays beneath the directory, or is not there', () => {
    const rules = posix.RESOLVE_BENEATH | posix.RESOLVE_NO_SYMLINKS;
    const fd = posix.openat2(dir.fd, b('moved'), posix.O_RDONLY | posix.O_DIRECTORY, 0, rules);
    if (fd === -posix.ENOSYS) return;
    expect(fd).toBeGreaterThan(2);
    posix.close(fd);
    expect(posix.openat2(dir.fd, b('../x'), posix.O_RDONLY, 0, rules)).toBe(-posix.EXDEV);
    expect(posix.openat2(dir.fd, b('real'), posix.O_RDONLY, 0, rules)).toBe(-posix.ELOOP);
  });

  test('closing twice is an error rather than a hit on the next one', () => {
    const fd = makeFile(dir.fd, b('twice'));
    posix.close(fd);
    expect(() => posix.close(fd)).toThrowError(expect.objectContaining({ code: 'EBADF' }));
  });

  test('errors of unknown numbers have a name too', () => {
    expect(posix.errnoName(-posix.EDQUOT)).toBe('EDQUOT');
    expect(posix.errnoName(posix.EAGAIN)).toBe('EAGAIN');
    expect(posix.errnoName(200)).toBe('E200');
    expect(() => posix.check(-2, 'statx', 'x')).toThrow('statx: no such file or directory (ENOENT): x');
  });
});

/** Walks a directory of 500 files again and again, in a thread of its own. */
const WALK = `
import { parentPort, workerData } from 'node:worker_threads';
const p = await import(workerData.index);
let seen = 0;
const stat = new p.Stat();
for (let round = 0; round < 20; round++) {
  const fd = p.open(workerData.path, p.O_RDONLY | p.O_DIRECTORY);
  const reader = new p.DirReader(fd, 4096);
  while (reader.next()) {
    p.check(p.statx(fd, reader.name, stat), 'statx');
    const file = p.check(p.openat(fd, reader.name, p.O_RDONLY | p.O_NOFOLLOW), 'openat');
    const content = Buffer.alloc(16);
    const length = p.pread(file, content, 0, 16, 0);
    if (content.toString('latin1', 0, length) === reader.name.toString('latin1')) seen++;
    if (p.openat(fd, Buffer.from('none' + round), p.O_RDONLY) !== -p.ENOENT) throw new Error('errno');
    p.close(file);
  }
  p.close(fd);
}
parentPort.postMessage(seen);
`;

test('threads do not disturb each other: each has its own scratch memory and errno', async () => {
  expect(posix.mkdirat(dir.fd, b('shared'), 0o755)).toBe(0);
  const shared = posix.openDirAt(dir.fd, b('shared'));
  for (let i = 0; i < 500; i++) posix.close(makeFile(shared, b(`f${i}`), `f${i}`));
  const before = openDescriptors();
  const workers = [1, 2].map(
    () =>
      new Worker(new URL(`data:text/javascript,${encodeURIComponent(WALK)}`), {
        workerData: { index, path: `${dir.path}/shared` },
        trackUnmanagedFds: false,
      }),
  );
  const answers = workers.map(
    (worker) =>
      new Promise((resolve, reject) => {
        worker.once('message', resolve);
        worker.once('error', reject);
      }),
  );
  const exits = workers.map((worker) => new Promise((resolve) => worker.once('exit', resolve)));
  expect(await Promise.all(answers)).toEqual([10_000, 10_000]);
  await Promise.all(exits);
  expect(openDescriptors()).toEqual(before);
  posix.close(shared);
});
