import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BackupKind } from '../../model/label.ts';
import { committedBackup, RegistryRig } from './rig.suite.ts';

let rig: RegistryRig;
beforeAll(async () => {
  rig = await RegistryRig.make();
});
afterAll(() => rig.close());

const at = (minute: number) => new Date(Date.UTC(2026, 0, 1, 0, minute));

/** Backups by their times, whose order need not be that of their seqs. */
async function sourceOf(backups: readonly [BackupKind, number, ('committed' | 'expired' | 'failed')?][]) {
  const uid = crypto.randomUUID();
  const made = { uid, agent: 'host', root: Buffer.from(`/${uid}`), key: Buffer.alloc(32), domain: 'd' };
  const { id } = await rig.registry.backups.ensureSource(made);
  for (const [i, [kind, minute, state = 'committed']] of backups.entries()) {
    const time = { openedAt: at(minute), committedAt: at(minute + 1) };
    await rig.registry.backups.restoreBackup({ ...committedBackup(id, i + 1, kind, 1), ...time, state }, []);
  }
  return uid;
}

const newest = async (minute: number, ...uids: string[]) => {
  const found = await rig.registry.backups.newest(at(minute), uids);
  return [...new Set(found.map(({ sourceUid, seq }) => `${uids.indexOf(sourceUid)}:${seq}`))].toSorted();
};

test('of each kind the last that was opened, of all the one of the highest seq', async () => {
  const a = await sourceOf([
    ['full', 0],
    ['differential', 10],
    ['full', 20, 'expired'],
    ['differential', 30],
    ['differential', 40],
    ['full', 50, 'failed'],
  ]);
  const none = await sourceOf([]);
  expect(await newest(60, a, none)).toEqual(['0:3', '0:5']);
  expect(await newest(60, none)).toEqual([]);
  const [found] = (await rig.registry.backups.newest(at(60), [a])).filter(({ seq }) => seq === 5);
  expect(found).toEqual({
    sourceUid: a,
    seq: 5,
    kind: 'differential',
    openedAt: at(40),
    committedAt: at(41),
  });
});

test('what was opened later by the clock is told, too: the clock may have been set back', async () => {
  const a = await sourceOf([
    ['full', 0],
    ['differential', 100],
    ['differential', 200],
    ['full', 300],
    ['differential', 15],
    ['differential', 10],
  ]);
  expect(await newest(20, a)).toEqual(['0:1', '0:2', '0:4', '0:5', '0:6']);
});

test('sources do not mix', async () => {
  const [a, b] = [
    await sourceOf([['full', 0]]),
    await sourceOf([
      ['full', 5],
      ['differential', 6],
    ]),
  ];
  expect(await newest(60, a, b)).toEqual(['0:1', '1:1', '1:2']);
});
