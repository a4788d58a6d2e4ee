import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import {
  codeOf,
  collect,
  commit,
  commitOf,
  committedBackup,
  NOW,
  newSource,
  present,
  sealOf,
  segmentOf,
} from '../fixtures.suite.ts';
import type { RegistryUnderTest } from '../registry.suite.ts';

const full = (sourceId: number) => ({ sourceId, kind: 'full' as const, tags: {} });
const differential = (sourceId: number) => ({ sourceId, kind: 'differential' as const, tags: {} });

/** States, epochs and the one slot of a source. */
export function slotCases(under: () => RegistryUnderTest): void {
  const backups = () => under().registry.backups;
  const entries = () => under().registry.entries;

  it('knows a source by agent and root, whatever else is offered the second time', async () => {
    const first = await newSource(under().registry, '/twice');
    const again = await newSource(under().registry, '/twice');
    expect(again).toEqual(first);
    expect(first).toMatchObject({ epoch: { generation: 1, counter: 0 }, head: 0, baseline: 0 });
    const bytes = await backups().ensureSource({
      ...first,
      uid: 'u1',
      root: Buffer.from([0x2f, 0xff, 0x0a]),
    });
    expect(bytes.root).toEqual(Buffer.from([0x2f, 0xff, 0x0a]));
  });

  it('says in one answer how a source stands: its row, its newest backup, and whether blocks are damaged', async () => {
    const { registry } = under();
    const uid = crypto.randomUUID();
    const root = Buffer.from(`/${uid}`);
    const made = { uid, agent: 'host', root, key: Buffer.alloc(32), domain: uid };
    const source = await backups().ensureSource(made);
    const name = { agent: 'host', root };
    expect(await backups().headOf({ agent: 'other', root })).toBeUndefined();
    expect(await registry.catalogue.source(name)).toEqual(source);
    expect(await backups().headOf(name)).toEqual({ source, backup: undefined, hasDamage: false });
    for (const seq of [1, 2]) {
      const opened = await backups().open(full(source.id));
      expect(Math.abs(opened.backup.openedAt.getTime() - (await registry.now()).getTime())).toBeLessThan(
        60_000,
      );
      await backups().seal(opened.backup.id, opened.backup.epoch, sealOf(opened));
      await backups().committing(opened.backup.id, opened.backup.epoch, { writer: uid, number: seq });
      const committed = await backups().commit(commitOf(opened));
      expect(committed).toEqual(await backups().get(opened.backup.id));
      const head = await backups().headOf({ uid });
      expect(head).toMatchObject({ source: { head: seq, baseline: seq, epoch: { counter: seq } } });
      expect(head?.backup).toEqual(committed);
      const { stateDigest } = committed;
      expect(await backups().baseOf(source.id, seq)).toEqual({ stateDigest, runs: commitOf(opened).runs });
    }
    expect(await backups().baseOf(source.id, 3)).toBeUndefined();
    const pack = { id: randomBytes(32), size: 10, keys: [] };
    const block = { pack: pack.id, frameOffset: 0, frameLength: 9, offset: 0, length: 1, kind: 0 };
    await registry.blocks.beginPack(uid, pack);
    await registry.blocks.finishPack(uid, pack, [{ ...block, id: pack.id, children: Buffer.alloc(0) }]);
    await registry.blocks.markDamaged(uid, [pack.id]);
    expect(await backups().headOf({ id: source.id })).toMatchObject({ hasDamage: true });
  });

  it('opens nothing while the store is being decided on', async () => {
    const { id } = await newSource(under().registry);
    const other = await under().other();
    let opened = false;
    const opening = await other.journal.withStoreLock('exclusive', async () => {
      const opening = backups().open(full(id), NOW);
      opening.then(() => {
        opened = true;
      });
      await other.backups.withSlot(id, async () => {}); // it waits without the slot
      expect(opened).toBe(false);
      return [opening];
    });
    const { backup } = await opening[0]!;
    await backups().fail(backup.id, 'TM1508', []);
    await other.close();
  });

  it('makes one row of a source that many ensure at once', async () => {
    const all = await Promise.all(Array.from({ length: 12 }, () => newSource(under().registry, '/at-once')));
    expect(new Set(all.map((one) => one.uid)).size).toBe(1);
  });

  it('gives the slot to one process: others get TM1501, also withSlot and a second open of its own', async () => {
    const { id } = await newSource(under().registry);
    const other = await under().other();
    const { backup } = await backups().open(full(id), NOW);
    expect(await codeOf(backups().open(full(id), NOW))).toBe('TM1501');
    expect(await codeOf(other.backups.open(full(id), NOW))).toBe('TM1501');
    expect(await codeOf(other.backups.withSlot(id, async () => {}))).toBe('TM1501');
    await backups().fail(backup.id, 'TM1508', []);
    const taken = await other.backups.open(full(id), NOW);
    expect(taken.backup.seq).toBe(2);
    await other.backups.fail(taken.backup.id, 'TM1508', []);
    await other.close();
  });

  it('lets exactly one of many processes open a source', async () => {
    const { id } = await newSource(under().registry);
    const others = await Promise.all(Array.from({ length: 4 }, () => under().other()));
    const codes = await Promise.all(others.map((one) => codeOf(one.backups.open(full(id), NOW))));
    expect(codes.filter((code) => code === undefined)).toHaveLength(1);
    expect(codes.filter((code) => code === 'TM1501')).toHaveLength(3);
    await Promise.all(others.map((one) => one.close()));
  });

  it('ends what a dead holder left open: failed, its rows gone, its seq and epoch spent', async () => {
    const source = await newSource(under().registry);
    const holder = await under().other();
    const dead = await holder.backups.open(full(source.id), NOW);
    await holder.entries.apply(dead.backup, [segmentOf(source, 0, [present('a', 1)])]);
    await holder.backups.seal(dead.backup.id, dead.backup.epoch, sealOf(dead));
    expect(await backups().abandoned()).not.toContainEqual(expect.objectContaining({ id: dead.backup.id }));
    await holder.close();
    expect(await backups().abandoned()).toContainEqual(expect.objectContaining({ id: dead.backup.id }));
    const opened = await backups().open(full(source.id), NOW);
    expect(opened.backup).toMatchObject({ seq: 2, epoch: { generation: 1, counter: 2 }, baseSeq: 0 });
    expect(await backups().get(dead.backup.id)).toMatchObject({ state: 'failed', failure: 'TM1502' });
    expect(await collect(entries().versions(source.id, 0, 9))).toEqual([]);
    expect((await entries().totals(dead.backup.id)).batches).toEqual([0]);
    expect(await codeOf(entries().apply(dead.backup, [segmentOf(source, 1, [present('b', 1)])]))).toBe(
      'TM1507',
    );
    await backups().fail(opened.backup.id, 'TM1508', []);
  });

  it('never ends a backup that is committing: the journal decides about it first', async () => {
    const source = await newSource(under().registry);
    const holder = await under().other();
    const dead = await holder.backups.open(full(source.id), NOW);
    const { id, epoch } = dead.backup;
    await holder.backups.seal(id, epoch, sealOf(dead));
    await holder.backups.committing(id, epoch, { writer: 'w', number: 77 });
    await holder.close();
    expect(await codeOf(backups().open(full(source.id), NOW))).toBe('TM1504');
    expect((await backups().abandoned()).find((one) => one.id === id)?.journal).toEqual({
      writer: 'w',
      number: 77,
    });
    await backups().withSlot(source.id, () => backups().commit(commitOf(dead)));
    expect(await backups().get(id)).toMatchObject({ state: 'committed' });
    const next = await backups().open(differential(source.id), NOW);
    expect(next.backup).toMatchObject({ baseSeq: 1, baselineSeq: 1 });
    await backups().fail(next.backup.id, 'TM1508', []);
  });

  it('refuses a differential without a baseline and frees the slot', async () => {
    const { id } = await newSource(under().registry);
    expect(await codeOf(backups().open(differential(id), NOW))).toBe('TM1303');
    const opened = await backups().open(full(id), NOW);
    expect(opened.backup.seq).toBe(1);
    await backups().fail(opened.backup.id, 'TM1508', []);
  });

  it('fences a stale epoch in every call: TM1502, and nothing is written', async () => {
    const source = await newSource(under().registry);
    const opened = await backups().open(full(source.id), NOW);
    const { backup } = opened;
    for (const epoch of [
      { generation: 1, counter: backup.epoch.counter - 1 },
      { generation: 2, counter: backup.epoch.counter },
    ]) {
      const stale = { ...backup, epoch };
      expect(await codeOf(entries().apply(stale, [segmentOf(source, 0, [present('a', 1)])]))).toBe('TM1502');
      expect(await codeOf(backups().seal(backup.id, epoch, sealOf(opened)))).toBe('TM1502');
      expect(await codeOf(backups().committing(backup.id, epoch, { writer: 'w', number: 1 }))).toBe('TM1502');
      expect(await codeOf(backups().commit(commitOf(opened, { epoch })))).toBe('TM1502');
    }
    expect(await backups().get(backup.id)).toMatchObject({ state: 'open' });
    expect(await collect(entries().versions(source.id, 0, 9))).toEqual([]);
    await backups().fail(backup.id, 'TM1508', []);
  });

  it('commits only from sealed, and only once; what has ended takes nothing any more', async () => {
    const source = await newSource(under().registry);
    const opened = await backups().open(full(source.id), NOW);
    const { id, epoch } = opened.backup;
    expect(await codeOf(backups().committing(id, epoch, { writer: 'w', number: 1 }))).toBe('TM1504');
    await commit(under().registry, opened);
    const before = await backups().get(id);
    expect(before).toMatchObject({ state: 'committed', committedAt: NOW, stateDigest: Buffer.alloc(32, 1) });
    expect(before?.counts).toEqual(commitOf(opened).counts);
    expect(await codeOf(backups().commit(commitOf(opened)))).toBe('TM1507');
    expect(await codeOf(backups().seal(id, epoch, sealOf(opened)))).toBe('TM1507');
    expect(await codeOf(entries().apply(opened.backup, [segmentOf(source, 0, [present('a', 1)])]))).toBe(
      'TM1507',
    );
    await backups().fail(id, 'TM1099', []);
    expect(await backups().get(id)).toEqual(before);
    expect(await collect(entries().versions(source.id, 0, 9))).toEqual([]);
  });

  it('fixes base and baseline at open, and promotes with the commit of a full only', async () => {
    const source = await newSource(under().registry);
    const { registry } = under();
    const bases: number[][] = [];
    for (const kind of ['full', 'differential', 'full', 'differential'] as const) {
      const { backup } = await committedBackup(registry, source, kind, []);
      bases.push([backup.seq, backup.baseSeq, backup.baselineSeq]);
    }
    expect(bases).toEqual([
      [1, 0, 1],
      [2, 1, 1],
      [3, 2, 3],
      [4, 3, 3],
    ]);
    expect(await newSource(registry, source.root.toString())).toMatchObject({ head: 4, baseline: 3 });
    const { baseDigest, backup } = await backups().open(differential(source.id), NOW);
    expect(baseDigest).toEqual(Buffer.alloc(32, 4));
    await backups().fail(backup.id, 'TM1508', []);
  });

  it('never uses a seq again after a failure, and hides failed ones from readers', async () => {
    const source = await newSource(under().registry);
    const seqs: number[] = [];
    for (let i = 0; i < 3; i++) {
      const { backup } = await backups().open(full(source.id), NOW);
      seqs.push(backup.seq);
      await backups().fail(backup.id, 'TM1508', []);
      await backups().fail(backup.id, 'TM1099', []);
      expect(await backups().get(backup.id)).toMatchObject({ state: 'failed', failure: 'TM1508' });
    }
    expect(seqs).toEqual([1, 2, 3]);
    expect(await backups().list({ sourceId: source.id })).toEqual([]);
    expect(await backups().list({ sourceId: source.id, all: true })).toHaveLength(3);
  });

  it('knows a backup by source and seq in any state, and none of another source', async () => {
    const [source, other] = [await newSource(under().registry), await newSource(under().registry)];
    const first = await backups().open(full(source.id), NOW);
    expect(await backups().at(source.id, 1)).toEqual(await backups().get(first.backup.id));
    await backups().fail(first.backup.id, 'TM1508', []);
    const second = await backups().open(full(source.id), NOW);
    expect(await backups().at(source.id, 1)).toMatchObject({ id: first.backup.id, state: 'failed' });
    expect(await backups().at(source.id, 2)).toMatchObject({ id: second.backup.id, state: 'open' });
    expect(await backups().at(source.id, 3)).toBeUndefined();
    expect(await backups().at(other.id, 1)).toBeUndefined();
    await backups().fail(second.backup.id, 'TM1508', []);
  });

  it('finds a free label behind any number of colliding ones', async () => {
    const source = await newSource(under().registry);
    for (let i = 1; i <= 20; i++) {
      const { backup } = await backups().open(full(source.id), NOW);
      expect(backup.label.endsWith(i === 1 ? '-F' : `-F.${i}`)).toBe(true);
      await backups().fail(backup.id, 'TM1508', []);
    }
  });

  it('gives colliding labels a number, also when the clock goes back, and sorts by seq of the source', async () => {
    const source = await newSource(under().registry);
    const labels: string[] = [];
    for (const [kind, time] of [
      ['full', '2026-11-23T10:15:00Z'],
      ['full', '2026-11-23T10:15:00.9Z'],
      ['differential', '2026-11-23T09:00:00Z'],
      ['differential', '2026-11-23T09:00:00Z'],
    ] as const) {
      const opened = await backups().open({ sourceId: source.id, kind, tags: { kind } }, new Date(time));
      await commit(under().registry, opened);
      labels.push(opened.backup.label);
    }
    expect(labels).toEqual([
      '20261123T101500Z-F',
      '20261123T101500Z-F.2',
      '20261123T101500Z-F.2_20261123T090000Z-D',
      '20261123T101500Z-F.2_20261123T090000Z-D.2',
    ]);
    const listed = await backups().list({ sourceId: source.id });
    expect(listed.map((one) => one.seq)).toEqual([1, 2, 3, 4]);
    expect(listed.map((one) => one.tags)).toEqual([
      { kind: 'full' },
      { kind: 'full' },
      { kind: 'differential' },
      { kind: 'differential' },
    ]);
  });

  it('keeps seals, runs, tags, pins and the journal head as they were given', async () => {
    const source = await newSource(under().registry);
    const opened = await backups().open(
      { sourceId: source.id, kind: 'full', tags: { __proto__x: 'ä\n' } },
      NOW,
    );
    const { id, epoch } = opened.backup;
    expect(await backups().sealOf(id)).toBeUndefined();
    const seal = sealOf(opened, { batches: [3, 0, 2], readTo: 2 ** 53 - 1 });
    await backups().seal(id, epoch, seal);
    await backups().seal(id, epoch, sealOf(opened, { batches: [9] }));
    expect(await backups().sealOf(id)).toEqual(seal);
    const journal = { writer: 'keeps', number: 2 ** 40, chain: Buffer.alloc(32, 3) };
    await commit(under().registry, opened, { journal });
    expect(await backups().runsOf(source.id, 1)).toEqual(commitOf(opened).runs);
    await backups().setTags(id, { a: 'b' }, { ...journal, number: 5 });
    await backups().setPinned(id, true, { ...journal, number: 2 ** 40 + 1 });
    expect(await backups().get(id)).toMatchObject({ tags: { a: 'b' }, pinned: true });
    const heads = await under().registry.journal.heads();
    expect(heads.find((one) => one.writer === 'keeps')?.number).toBe(2 ** 40 + 1);
  });
}
