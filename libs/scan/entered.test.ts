import { expect, test } from 'vitest';
import { Stat } from '../posix/index.ts';
import { Entered } from './entered.ts';

const START = 1000n * 1_000_000_000n;

/** As far as `Entered` looks; `changed` in seconds. */
function statOf(ino: bigint, device: bigint, changed: bigint): Stat {
  return Object.create(Stat.prototype, {
    ino: { value: ino },
    dev: { value: device },
    mountId: { value: 7n },
    ctimeSec: { value: changed },
  }) as Stat;
}

test('a directory that moves is entered four times; one that did not change, as often as it is met', () => {
  const entered = new Entered(START, 10_000_000);
  const times = (stat: Stat) => Array.from({ length: 6 }, () => entered.tooOften(stat));
  expect(times(statOf(256n, 1n, 1001n))).toEqual([false, false, false, false, true, true]);
  expect(times(statOf(257n, 1n, 900n)).includes(true)).toBe(false);
});

test('subvolumes of one mount, whose roots have one inode number, are told apart', () => {
  const entered = new Entered(START, 10_000_000);
  const roots = Array.from({ length: 8 }, (_, device) => statOf(256n, BigInt(device), 1001n));
  expect(roots.map((root) => entered.tooOften(root)).includes(true)).toBe(false);
});
