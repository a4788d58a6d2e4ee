import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { codeOf, collect, commit, NOW, newSource, present, sealOf, segmentOf } from '../fixtures.suite.ts';
import type { Lease, OpenedBackup, OpenRequest, Registry, SourceRow } from '../port.ts';
import type { RegistryUnderTest } from '../registry.suite.ts';

const lease = (seconds: number, more: Partial<Lease> = {}): Lease => ({
  seconds,
  macKey: Buffer.alloc(32, 7),
  instance: 'instance',
  shards: 4,
  ...more,
});
const LIVE = lease(600);
/** Runs out at once. */
const OVER = lease(0);

const full = (sourceId: number, held?: Lease): OpenRequest => ({
  sourceId,
  kind: 'full',
  tags: {},
  lease: held,
});

/** Slots that are held by a lease, beside those that are held by a session. */
export function leaseCases(under: () => RegistryUnderTest): void {
  const registry = () => under().registry;
  const backups = () => registry().backups;
  const stateOf = async (id: string) => (await backups().get(id))?.state;
  const failed = (code: string) => [{ type: 'backup.failed', data: { code } }];

  async function withOther(work: (other: Registry) => Promise<void>): Promise<void> {
    const other = await under().other();
    try {
      await work(other);
    } finally {
      await other.close();
    }
  }

  async function expectHeld(source: SourceRow, one: Registry): Promise<void> {
    expect(await codeOf(one.backups.open(full(source.id), NOW))).toBe('TM1501');
    expect(await codeOf(one.backups.open(full(source.id, LIVE), NOW))).toBe('TM1501');
    expect(await codeOf(one.backups.open(full(source.id, OVER), NOW))).toBe('TM1501');
    expect(await codeOf(one.backups.withSlot(source.id, async () => {}))).toBe('TM1501');
  }

  it('refuses a slot that a lease holds, to leases and sessions, while it is open and once it is sealed', async () => {
    const source = await newSource(registry());
    await withOther(async (other) => {
      const opened = await other.backups.open(full(source.id, LIVE), NOW);
      const { id, epoch } = opened.backup;
      for (const one of [registry(), other]) await expectHeld(source, one);
      await other.backups.seal(id, epoch, sealOf(opened));
      await other.backups.renew(id, epoch, 0);
      for (const one of [registry(), other]) await expectHeld(source, one);
    });
    // The process that opened it is gone; a lease is nobody's session.
    await expectHeld(source, registry());
    const held = (await backups().active()).find((one) => one.sourceId === source.id)!;
    expect(await backups().abandoned()).not.toContainEqual(expect.objectContaining({ id: held.id }));
    await backups().fail(held.id, 'TM1513', []);
    const next = await backups().open(full(source.id), NOW);
    await backups().fail(next.backup.id, 'TM1508', []);
  });

  it('refuses a lease where a session holds the slot, also for other work than a backup', async () => {
    const source = await newSource(registry());
    await withOther(async (other) => {
      const { backup } = await other.backups.open(full(source.id), NOW);
      expect(await codeOf(backups().open(full(source.id, LIVE), NOW))).toBe('TM1501');
      await other.backups.fail(backup.id, 'TM1508', []);
      await other.backups.withSlot(source.id, async () => {
        expect(await codeOf(backups().open(full(source.id, LIVE), NOW))).toBe('TM1501');
      });
      const opened = await backups().open(full(source.id, LIVE), NOW);
      await backups().fail(opened.backup.id, 'TM1508', []);
    });
  });

  it('ends a lease that ran out when the slot is asked for: failed TM1512, rows gone, one event', async () => {
    for (const held of [undefined, LIVE]) {
      const source = await newSource(registry());
      const dead = await backups().open(full(source.id, OVER), NOW);
      await registry().entries.apply(dead.backup, [segmentOf(source, 0, [present('a', 1)])]);
      expect(await backups().abandoned()).toContainEqual(expect.objectContaining({ id: dead.backup.id }));
      const next = await backups().open(full(source.id, held), NOW);
      expect(next.backup).toMatchObject({ seq: 2, epoch: { generation: 1, counter: 2 } });
      expect(await backups().get(dead.backup.id)).toMatchObject({ state: 'failed', failure: 'TM1512' });
      expect(await collect(registry().entries.versions(source.id, 0, 9))).toEqual([]);
      const events = (await registry().outbox.pending(100_000)).filter((one) => one.sourceId === source.id);
      expect(events.map(({ data }) => data)).toEqual([
        { backupId: dead.backup.id, label: dead.backup.label, code: 'TM1512' },
      ]);
      expect(await codeOf(backups().renew(dead.backup.id, dead.backup.epoch, 60))).toBe('TM1502');
      await backups().fail(next.backup.id, 'TM1508', []);
    }
  });

  it('ends what a session left open when a lease is opened, and never what it was committing', async () => {
    const source = await newSource(registry());
    const holder = await under().other();
    const dead = await holder.backups.open(full(source.id), NOW);
    await holder.close();
    const opened = await backups().open(full(source.id, LIVE), NOW);
    expect(await backups().get(dead.backup.id)).toMatchObject({ state: 'failed', failure: 'TM1502' });
    await backups().fail(opened.backup.id, 'TM1508', []);
    const second = await under().other();
    const torn = await second.backups.open(full(source.id), NOW);
    const { id, epoch } = torn.backup;
    await second.backups.seal(id, epoch, sealOf(torn));
    await second.backups.committing(id, epoch, { writer: 'w', number: 5 });
    await second.close();
    expect(await codeOf(backups().open(full(source.id, LIVE), NOW))).toBe('TM1504');
    expect(await stateOf(id)).toBe('committing');
    await backups().fail(id, 'TM1502', []);
  });

  it('lets a lease be renewed also after it ran out, by its epoch only, until the backup ends', async () => {
    const source = await newSource(registry());
    const { backup } = await backups().open(full(source.id, OVER), NOW);
    await backups().renew(backup.id, backup.epoch, 600);
    expect(await codeOf(backups().open(full(source.id, LIVE), NOW))).toBe('TM1501');
    expect(await backups().overdue(0)).not.toContainEqual(
      expect.objectContaining({ backup: expect.objectContaining({ id: backup.id }) }),
    );
    for (const epoch of [
      { generation: 2, counter: 1 },
      { generation: 1, counter: 9 },
    ])
      expect(await codeOf(backups().renew(backup.id, epoch, 600))).toBe('TM1502');
    expect(await codeOf(backups().renew(randomUUID(), backup.epoch, 600))).toBe('TM1502');
    await backups().fail(backup.id, 'TM1508', []);
    expect(await codeOf(backups().renew(backup.id, backup.epoch, 600))).toBe('TM1502');
  });

  it('has no lease to renew where a session holds the slot', async () => {
    const source = await newSource(registry());
    const { backup } = await backups().open(full(source.id), NOW);
    expect(await codeOf(backups().renew(backup.id, backup.epoch, 600))).toBe('TM1502');
    await backups().fail(backup.id, 'TM1508', []);
  });

  it('gives a slot to exactly one of many that ask at once, with leases and without', async () => {
    const source = await newSource(registry());
    await withOther(async (other) => {
      const asked = [registry(), other, registry(), other, registry(), other].map((one, i) =>
        one.backups.open(full(source.id, i < 4 ? LIVE : undefined), NOW),
      );
      const settled = await Promise.allSettled(asked);
      const opened = settled.filter((one) => one.status === 'fulfilled');
      expect(opened).toHaveLength(1);
      expect((await backups().active()).filter((one) => one.sourceId === source.id)).toHaveLength(1);
      for (const one of settled) if (one.status === 'rejected') expect(one.reason.code).toBe('TM1501');
      await Promise.all(
        [registry(), other].map((one) => one.backups.fail(opened[0]!.value.backup.id, 'TM1508', [])),
      );
    });
  });

  it('goes its way in processes that did not open it: sealed, committed, its slot free for the next one', async () => {
    const source = await newSource(registry());
    await withOther(async (other) => {
      const opened = await other.backups.open(full(source.id, LIVE), NOW);
      await registry().entries.apply(opened.backup, [segmentOf(source, 0, [present('a', 1)])]);
      await commit(registry(), opened);
      const next = await other.backups.open({ ...full(source.id, LIVE), kind: 'differential' }, NOW);
      expect(next.backup).toMatchObject({ baseSeq: 1, baselineSeq: 1 });
      await backups().fail(next.backup.id, 'TM1508', []);
    });
  });

  it('lists as abandoned what is being committed, whoever does it: the journal decides', async () => {
    const source = await newSource(registry());
    const opened = await backups().open(full(source.id, LIVE), NOW);
    const { id, epoch } = opened.backup;
    await backups().seal(id, epoch, sealOf(opened));
    expect(await backups().committing(id, epoch, { writer: 'w', number: 7 })).toMatchObject({ ours: true });
    expect(await backups().committing(id, epoch, { writer: 'x', number: 8 })).toEqual({ ours: false });
    expect(await backups().committing(id, epoch, { writer: 'w', number: 7 })).toEqual({ ours: false });
    expect((await backups().abandoned()).find((one) => one.id === id)?.journal).toEqual({
      writer: 'w',
      number: 7,
    });
    expect(await codeOf(backups().open(full(source.id, LIVE), NOW))).toBe('TM1501');
    expect(await codeOf(backups().open(full(source.id), NOW))).toBe('TM1501');
    await backups().withSlot(source.id, () => backups().fail(id, 'TM1502', []));
    expect(await stateOf(id)).toBe('failed');
  });

  it('aborts what is open or sealed, once, and never what is being committed or has ended', async () => {
    for (const stage of ['open', 'sealed', 'committing', 'committed'] as const) {
      const source = await newSource(registry());
      const opened = await backups().open(full(source.id, LIVE), NOW);
      const { id, epoch } = opened.backup;
      if (stage === 'committed') await commit(registry(), opened);
      else if (stage !== 'open') await backups().seal(id, epoch, sealOf(opened));
      if (stage === 'committing') await backups().committing(id, epoch, { writer: 'w', number: 1 });
      const after = stage === 'open' || stage === 'sealed' ? 'failed' : stage;
      for (let times = 0; times < 2; times++)
        expect(await backups().abort(id, 'TM1512', failed('TM1512'))).toBe(after);
      expect(await stateOf(id)).toBe(after);
      const events = (await registry().outbox.pending(100_000)).filter((one) => one.sourceId === source.id);
      expect(events).toHaveLength(after === 'failed' || after === 'committed' ? 1 : 0);
      await backups().fail(id, 'TM1502', []);
    }
    expect(await backups().abort(randomUUID(), 'TM1512', [])).toBeUndefined();
  });

  async function overdueOf(opened: OpenedBackup, stallSeconds: number): Promise<string | undefined> {
    const all = await backups().overdue(stallSeconds);
    return all.find(({ backup }) => backup.id === opened.backup.id)?.code;
  }

  it('says what is overdue: open without a lease that lasts, sealed without a piece for a while', async () => {
    const source = await newSource(registry());
    const opened = await backups().open(full(source.id, LIVE), NOW);
    const { id, epoch } = opened.backup;
    expect(await overdueOf(opened, 0)).toBeUndefined();
    await backups().renew(id, epoch, 0);
    expect(await overdueOf(opened, 600)).toBe('TM1512');
    await backups().seal(id, epoch, sealOf(opened));
    expect(await overdueOf(opened, 600)).toBeUndefined();
    expect(await overdueOf(opened, 0)).toBe('TM1513');
    await registry().entries.apply(opened.backup, [segmentOf(source, 0, [present('a', 1)])]);
    expect(await overdueOf(opened, 600)).toBeUndefined();
    expect(await overdueOf(opened, 0)).toBe('TM1513');
    await backups().committing(id, epoch, { writer: 'w', number: 1 });
    expect(await overdueOf(opened, 0)).toBeUndefined();
    await backups().fail(id, 'TM1513', []);
    expect(await overdueOf(opened, 0)).toBeUndefined();
  });

  it('never calls a session overdue, sealed or not', async () => {
    const source = await newSource(registry());
    const opened = await backups().open(full(source.id), NOW);
    expect(await overdueOf(opened, 0)).toBeUndefined();
    await backups().seal(opened.backup.id, opened.backup.epoch, sealOf(opened));
    expect(await overdueOf(opened, 0)).toBeUndefined();
    await backups().fail(opened.backup.id, 'TM1508', []);
  });

  it('admits by state, epoch and key, and forgets the key when the backup ends', async () => {
    const [one, two, three] = [
      await newSource(registry()),
      await newSource(registry()),
      await newSource(registry()),
    ];
    const leased = await backups().open(full(one.id, lease(600, { macKey: Buffer.alloc(32, 1) })), NOW);
    const ended = await backups().open(full(two.id, LIVE), NOW);
    const session = await backups().open(full(three.id), NOW);
    await backups().fail(ended.backup.id, 'TM1508', []);
    const ids = [leased, ended, session].map(({ backup }) => backup.id);
    const asked = [...ids, randomUUID(), '', 'nonsense', `${ids[0]!.toUpperCase()}`, `${ids[0]!}'`, '\0'];
    const admissions = await backups().admissions(asked);
    expect([...admissions.keys()].sort()).toEqual([...ids].sort());
    const { epoch } = leased.backup;
    const admitted = { sourceId: one.id, state: 'open', epoch, instance: 'instance', shards: 4 };
    expect(admissions.get(ids[0]!)).toEqual({ ...admitted, macKey: Buffer.alloc(32, 1) });
    expect(admissions.get(ids[1]!)).toMatchObject({ state: 'failed', macKey: undefined });
    expect(admissions.get(ids[2]!)).toMatchObject({ state: 'open', macKey: undefined, shards: undefined });
    await commit(registry(), leased);
    const after = (await backups().admissions([ids[0]!])).get(ids[0]!);
    expect(after).toMatchObject({ state: 'committed', macKey: undefined });
    expect(await backups().admissions([])).toEqual(new Map());
    await backups().fail(session.backup.id, 'TM1508', []);
  });
}
