import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import * as posix from './index.ts';
import { b, makeFile, testDir } from './test-dir.suite.ts';

const dir = testDir();
const index = new URL('./index.ts', import.meta.url).href;
const run = ['--input-type=module', '-e'];

function twoHandles(name: string): [number, number] {
  return [makeFile(dir.fd, b(name)), posix.openat(dir.fd, b(name), posix.O_RDWR)];
}

test('an exclusive lock keeps others out until it is given back', async () => {
  const [one, other] = twoHandles('lock');
  expect(await posix.flockWait(one, posix.LOCK_EX)).toBe(0);
  expect(posix.flock(other, posix.LOCK_SH | posix.LOCK_NB)).toBe(-posix.EAGAIN);
  let settled = false;
  const waiting = posix.flockWait(other, posix.LOCK_EX).then((result) => {
    settled = true;
    return result;
  });
  await new Promise(setImmediate);
  expect(settled).toBe(false);
  expect(posix.flock(one, posix.LOCK_UN)).toBe(0);
  expect(await waiting).toBe(0);
  posix.close(one);
  posix.close(other);
  expect(await posix.flockWait(other, posix.LOCK_EX)).toBe(-posix.EBADF);
});

test('a process that waits for a lock can still exit', () => {
  const [one, other] = twoHandles('exit');
  posix.flock(one, posix.LOCK_EX);
  const path = `${dir.path}/exit`;
  const code = `import * as p from '${index}';
    p.flockWait(p.open('${path}', p.O_RDWR), p.LOCK_EX);
    setImmediate(() => process.exit(0));`;
  execFileSync(process.execPath, [...run, code], { timeout: 20_000 });
  posix.close(one);
  posix.close(other);
});

test('the lock of a killed process is free', async () => {
  const [one, other] = twoHandles('killed');
  const path = `${dir.path}/killed`;
  const code = `import * as p from '${index}';
    p.flock(p.open('${path}', p.O_RDWR), p.LOCK_EX);
    process.stdout.write('held');
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, [...run, code], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  expect(posix.flock(one, posix.LOCK_EX | posix.LOCK_NB)).toBe(-posix.EAGAIN);
  child.kill('SIGKILL');
  expect(await posix.flockWait(one, posix.LOCK_EX)).toBe(0);
  posix.close(one);
  posix.close(other);
});
