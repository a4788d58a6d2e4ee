import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'vitest';
import { type PruneDeps, prune } from '../../libs/retain/prune.ts';
import { afterAll, beforeAll, test } from '../needs.ts';
import { RetainRig, until } from './rig.suite.ts';

let rig: RetainRig;
const labels: string[] = [''];
let round = 0;

const backup = (...options: string[]) => {
  rig.edit(++round);
  labels[round] = rig.backup(...options);
};

beforeAll(() => {
  rig = new RetainRig('prune-crash');
  for (let n = 1; n <= 7; n++) backup(...(n === 1 ? ['--full'] : []));
}, 60_000);
afterAll(() => rig.close());

/** The next backup has content that only expired backups had; everything that is kept is whole. */
function expectUsable(broughtBack: string): void {
  rig.bringBack(broughtBack);
  const label = rig.backup();
  rig.expectRestores(label);
  expect(rig.ok('verify', '--read-data').last).toMatchObject({ findings: 0 });
}

/** What prune changes, in order; the call with this number dies before it does anything. */
function dyingAt(call: number, { registry, store, recover }: PruneDeps): PruneDeps {
  let calls = 0;
  const counted =
    <A extends unknown[]>(work: (...args: A) => Promise<void>) =>
    async (...args: A): Promise<void> => {
      if (calls++ === call) throw new Error('killed');
      await work(...args);
    };
  const wrap = <T extends object>(target: T, methods: Partial<T>): T =>
    new Proxy(target, {
      get(_, key) {
        const own = (methods as Record<PropertyKey, unknown>)[key] ?? Reflect.get(target, key, target);
        return typeof own === 'function' ? own.bind(target) : own;
      },
    });
  const { blocks } = registry;
  return {
    recover,
    store: wrap(store, { delete: counted((name: string) => store.delete(name)) }),
    registry: wrap(registry, {
      blocks: wrap(blocks, {
        condemn: counted(blocks.condemn.bind(blocks)),
        forgetPack: counted(blocks.forgetPack.bind(blocks)),
      }),
    }),
  };
}

const pruneDyingAt = (call: number): Promise<'killed' | 'done'> =>
  rig.withEngine(async ({ registry, store, domain }) => {
    const request = { domain: domain.id, dryRun: false, onOrphan: () => {} };
    try {
      await prune(request, dyingAt(call, { registry, store, recover: async () => {} }));
      return 'done';
    } catch (error) {
      if ((error as Error).message !== 'killed') throw error;
      return 'killed';
    }
  });

test('a prune that dies before any of its steps leaves a store that works, and the next one goes on', {
  timeout: 120_000,
}, async () => {
  rig.ok('expire', '--keep-last', '1');
  const before = rig.packs().length;
  expect(await pruneDyingAt(0)).toBe('killed'); // before condemning
  expect(rig.packs()).toHaveLength(before);
  expect(await pruneDyingAt(1)).toBe('killed'); // condemned, nothing deleted
  expect(rig.packs()).toHaveLength(before);
  expectUsable(labels[3]!);
  expect(await pruneDyingAt(2)).toBe('killed'); // one object deleted, its rows are there
  expectUsable(labels[4]!);
  expect(await pruneDyingAt(4)).toBe('killed'); // one forgotten, the next one deleted
  expectUsable(labels[5]!);
  const { last } = rig.ok('prune');
  expect(last.packs).toBeGreaterThan(0);
  expect(last.orphans).toBe(0);
  rig.expectAllWell();
  expect(rig.ok('prune').last).toMatchObject({ packs: 0, orphans: 0 });
});

test('SIGKILL of prune at any moment: backup, restore, verify and the next prune are right', {
  timeout: 120_000,
}, async () => {
  backup('--full');
  for (const moment of ['deleting', 'random', 'random']) {
    for (let i = 0; i < 2; i++) backup();
    rig.ok('expire', '--keep-last', '1');
    const before = rig.packs().length;
    const { child, ended } = rig.start('prune');
    if (moment === 'random') await wait(Math.random() * 800);
    else await until('a pack is deleted', () => rig.packs().length < before);
    child.kill('SIGKILL');
    await ended;
    expectUsable(labels[round - 1]!);
    rig.ok('prune');
    expect(rig.ok('prune').last).toMatchObject({ packs: 0, orphans: 0 });
  }
  rig.expectAllWell();
});
