import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FrameSealer } from '../blocks/frame.ts';
import { BlockKind } from '../blocks/intake.ts';
import { DeltaCalculator } from '../calculate/delta-calculator.ts';
import type { ChangeBatch, DeltaSegment, Seal } from '../contracts/messages.ts';
import { blake3, DigestSum, KeyedHasher } from '../model/digests.ts';
import { type EntryRecord, RecordOp } from '../model/records.ts';
import { TestHome } from '../registry/embedded/fixtures.suite.ts';
import { acquireEmbeddedPostgres, type EmbeddedPostgres } from '../registry/embedded/index.ts';
import {
  bodyOf,
  codeOf,
  collect,
  gone,
  hashOf,
  kept,
  NOW,
  newSource,
  present,
  sealOf,
} from '../registry/fixtures.suite.ts';
import type { OpenedBackup, Registry, SourceRow } from '../registry/port.ts';
import { openPostgresRegistry } from '../registry/postgres/open-postgres-registry.ts';
import { FaultyStore, faults } from '../store/faulty-store.ts';
import { JournalWriter, readJournal } from '../store/journal.ts';
import { MemoryStore } from '../store/memory/memory-store.ts';
import { Committer } from './committer.ts';
import { DeltaApplier } from './delta-applier.ts';
import { PackIntake } from './pack-intake.ts';

let home: TestHome;
let postgres: EmbeddedPostgres;
let registry: Registry;

beforeAll(async () => {
  home = new TestHome();
  postgres = await acquireEmbeddedPostgres({ home: home.home });
  registry = await openPostgresRegistry({ connection: postgres.connection });
});

afterAll(async () => {
  await registry.close();
  await postgres.release();
  await home.dispose();
});

/** Stages from calculator to commit, with a store and a source of their own; the agent is the test. */
class Rig {
  readonly store = new FaultyStore(new MemoryStore());
  readonly writer = randomUUID();
  readonly intake: PackIntake;
  readonly committer: Committer;
  readonly applier: DeltaApplier;
  commits = 0;
  source!: SourceRow;
  opened!: OpenedBackup;

  constructor() {
    const keyId = randomBytes(16);
    const wrappedKey = async () => ({ id: keyId, wrapped: Buffer.from('wrapped') });
    const { store, writer } = this;
    this.intake = new PackIntake({
      domainId: DOMAIN,
      blocks: registry.blocks,
      store,
      wrappedKey,
      packBytes: 1 << 20,
    });
    const key = randomBytes(32);
    const sealer = new FrameSealer({ domainId: DOMAIN, keyId, key, firstFrameNo: 0, endFrameNo: 2 ** 40 });
    const ids = new KeyedHasher(randomBytes(32));
    const now = () => NOW;
    this.committer = new Committer({
      registry,
      store,
      ownerGeneration: 1,
      intake: this.intake,
      seal: async (plain, kind) => {
        const block = { id: ids.digest(plain), length: plain.length, kind, children: Buffer.alloc(0) };
        return sealer.seal([{ ...block, bytes: plain }]);
      },
      journal: async () => {
        const head = (await registry.journal.heads()).find((one) => one.writer === writer);
        return new JournalWriter(store, { writer, head, ownerGeneration: 1, now });
      },
      writer,
      now,
    });
    this.applier = new DeltaApplier(registry, (_, ids) => registry.blocks.present(DOMAIN, ids), {
      commit: async (backup, seal, totals) => {
        const outcome = await this.committer.commit(backup, this.source, seal, totals);
        if (outcome.state === 'failed') throw outcome.error;
        this.commits++;
      },
      settle: async () => {},
    });
  }

  static async open(): Promise<Rig> {
    const rig = new Rig();
    rig.source = await newSource(registry, `/${randomUUID()}`, DOMAIN);
    await rig.begin('full');
    return rig;
  }

  async begin(kind: 'full' | 'differential'): Promise<void> {
    this.opened = await registry.backups.open({ sourceId: this.source.id, kind, tags: {} }, NOW);
  }

  /** The segment that the calculator makes of these records. */
  async segment(batchNo: number, records: readonly EntryRecord[]): Promise<DeltaSegment> {
    const body = bodyOf(records);
    const header = { ...sealOf(this.opened).header, batchNo };
    const batch: ChangeBatch = { type: 'batch', header, count: records.length, body, digest: blake3(body) };
    const context = { backup: this.opened.backup, source: this.source };
    const calculator = new DeltaCalculator(registry.entries, async () => context);
    return (await calculator.calculate(batch)) as DeltaSegment;
  }

  /** The agent's seal over a tree that consists of `tree` now. */
  seal(segments: readonly DeltaSegment[], tree: readonly EntryRecord[], more: Partial<Seal> = {}): Seal {
    const [batchDigest, stateDigest] = [new DigestSum(), new DigestSum()];
    for (const segment of segments) batchDigest.add(segment.batchDigest);
    for (const record of tree)
      if (record.op === RecordOp.present) stateDigest.add(hashOf(this.source, record));
    const seal = sealOf(this.opened);
    return sealOf(this.opened, {
      totals: { ...seal.totals, files: tree.length },
      batches: [segments.length],
      batchDigest: batchDigest.bytes(),
      stateDigest: stateDigest.bytes(),
      ...more,
    });
  }

  /** A block in the store, as the intake takes it. */
  async block(): Promise<Buffer> {
    const [bytes, id] = [randomBytes(100), randomBytes(32)];
    const block = { id, length: bytes.length, kind: BlockKind.data, children: Buffer.alloc(0) };
    const keys = { domainId: DOMAIN, keyId: randomBytes(16), key: randomBytes(32) };
    const sealer = new FrameSealer({ ...keys, firstFrameNo: 0, endFrameNo: 9 });
    this.intake.put([sealer.seal([{ ...block, bytes }])]);
    await this.intake.flush();
    return id;
  }

  async state(): Promise<string | undefined> {
    return (await registry.backups.get(this.opened.backup.id))?.state;
  }

  async expectTree(records: readonly EntryRecord[]): Promise<void> {
    const seq = this.opened.backup.seq;
    const listed = await collect(registry.entries.list(this.source.id, seq));
    const hashes = (all: readonly Buffer[]) => all.map((hash) => hash.toString('hex')).sort();
    expect(hashes(listed.map(({ hash }) => hash))).toEqual(
      hashes(records.map((one) => hashOf(this.source, one))),
    );
  }

  /** After an error: nothing is committed, and once the backup has failed its source can be backed up again. */
  async expectNothingCommitted(code: string): Promise<void> {
    const { id, sourceId, seq } = this.opened.backup;
    expect(await this.state()).not.toBe('committed');
    expect(await registry.backups.list({ sourceId })).toEqual([]);
    expect(this.commits).toBe(0);
    for await (const object of readJournal(this.store, this.writer, undefined))
      expect(object.records).toEqual([]);
    await registry.backups.fail(id, code, []);
    expect(await registry.backups.get(id)).toMatchObject({ state: 'failed', failure: code });
    expect(await collect(registry.entries.versions(sourceId, 0, seq))).toEqual([]);
    await this.begin('full');
    expect(this.opened.backup).toMatchObject({ seq: seq + 1, baseSeq: 0 });
    const records = [present('next', 1)];
    const segment = await this.segment(0, records);
    await this.applier.apply([segment, this.seal([segment], records)]);
    expect(await this.state()).toBe('committed');
    await this.expectTree(records);
  }
}

const DOMAIN = '00112233-4455-6677-8899-aabbccddeeff';

/** Segments of three files, one each. */
async function three(rig: Rig): Promise<{ records: EntryRecord[]; segments: DeltaSegment[] }> {
  const records = ['a', 'b', 'c'].map((name, i) => present(name, i + 1));
  const segments: DeltaSegment[] = [];
  for (const [i, record] of records.entries()) segments.push(await rig.segment(i, [record]));
  return { records, segments };
}

test('pieces in any order, twice and after the seal make one commit, and a replay after it changes nothing', async () => {
  const rig = await Rig.open();
  const { records, segments } = await three(rig);
  const seal = rig.seal(segments, records);
  await rig.applier.apply([segments[2]!]);
  await rig.applier.apply([seal]);
  await rig.applier.apply([segments[0]!, segments[2]!, segments[0]!]);
  expect(await rig.state()).toBe('sealed');
  await rig.applier.apply([segments[1]!, segments[1]!, seal]);
  expect(await rig.state()).toBe('committed');
  await rig.applier.apply([...segments, seal]);
  expect(rig.commits).toBe(1);
  await rig.expectTree(records);
  const objects = await Array.fromAsync(readJournal(rig.store, rig.writer, undefined));
  expect(objects.map(({ records }) => records)).toMatchObject([
    [
      { kind: 'source', uid: rig.source.uid, sealed: 1 },
      { kind: 'commit', backupId: rig.opened.backup.id, runs: [{ fromSeq: 0, toSeq: 1, records: 3 }] },
    ],
  ]);
});

test('differentials follow: changed, deleted, kept; runs chain up and the tree is as the agent says', async () => {
  const rig = await Rig.open();
  const { records, segments } = await three(rig);
  await rig.applier.apply([...segments, rig.seal(segments, records)]);
  await rig.begin('differential');
  const tree = [present('a', 9), records[2]!, present('d/e', 4)];
  const segment = await rig.segment(0, [present('a', 9), gone('b'), kept('c'), present('d/e', 4)]);
  await rig.applier.apply([segment, rig.seal([segment], tree)]);
  await rig.expectTree(tree);
  const backup = await registry.backups.get(rig.opened.backup.id);
  expect(backup?.counts).toMatchObject({ added: 1, changed: 1, deleted: 1, metadata: 0 });
  expect(await registry.backups.runsOf(rig.source.id, 2)).toMatchObject([
    { fromSeq: 0, toSeq: 1 },
    { fromSeq: 1, toSeq: 2, records: 4 },
  ]);
  await rig.begin('differential');
  const nothing = await rig.segment(0, tree);
  await rig.applier.apply([nothing, rig.seal([nothing], tree)]);
  expect((await registry.backups.get(rig.opened.backup.id))?.counts).toMatchObject({
    added: 0,
    changed: 0,
    deleted: 0,
  });
});

test('gaps of the seal are in the record, the registry and the event; without any nothing is said', async () => {
  for (const gaps of [undefined, [], ['agent-down', 'overflow']]) {
    const rig = await Rig.open();
    const { records, segments } = await three(rig);
    await rig.applier.apply([...segments, rig.seal(segments, records, { gaps })]);
    expect((await registry.backups.get(rig.opened.backup.id))?.gaps).toEqual(gaps);
    const [object] = await Array.fromAsync(readJournal(rig.store, rig.writer, undefined));
    const record = object!.records.find(({ kind }) => kind === 'commit');
    expect(record && 'gaps' in record ? record.gaps : undefined).toEqual(gaps);
    const events = (await registry.outbox.pending(1000)).filter(({ sourceId }) => sourceId === rig.source.id);
    expect(events[0]).toMatchObject({ type: 'backup.committed' });
    expect(events[0]!.data.gaps).toBe(gaps?.join(','));
  }
});

test('a batch that is missing: the applier waits, and a commit that is asked for anyway is TM1504', async () => {
  const rig = await Rig.open();
  const { records, segments } = await three(rig);
  const seal = rig.seal(segments, records);
  await rig.applier.apply([segments[0]!, segments[2]!, seal]);
  expect(await rig.state()).toBe('sealed');
  const { backup } = rig.opened;
  const totals = await registry.entries.totals(backup.id);
  expect(await codeOf(rig.committer.commit(backup, rig.source, seal, totals))).toBe('TM1504');
  await rig.expectNothingCommitted('TM1504');
});

test('a shard that is missing is TM1504', async () => {
  const rig = await Rig.open();
  const { records, segments } = await three(rig);
  const seal = rig.seal(segments, records, { batches: [3, 1] });
  await rig.applier.apply([...segments, seal]);
  const { backup } = rig.opened;
  const totals = await registry.entries.totals(backup.id);
  expect(await codeOf(rig.committer.commit(backup, rig.source, seal, totals))).toBe('TM1504');
  await rig.expectNothingCommitted('TM1504');
});

test('a batch that is not the one which the agent sealed is TM1504', async () => {
  const rig = await Rig.open();
  const { records, segments } = await three(rig);
  const forged = await rig.segment(1, [present('b', 77)]);
  const seal = rig.seal(segments, records);
  expect(await codeOf(rig.applier.apply([segments[0]!, forged, segments[2]!, seal]))).toBe('TM1504');
  await rig.expectNothingCommitted('TM1504');
});

test('more batches than were sealed are TM1504', async () => {
  const rig = await Rig.open();
  const { records, segments } = await three(rig);
  const seal = rig.seal(segments.slice(0, 2), records.slice(0, 2));
  expect(await codeOf(rig.applier.apply([...segments, seal]))).toBe('TM1504');
  await rig.expectNothingCommitted('TM1504');
});

test('a tree that is smaller, larger or other than the agent says is TM1503', async () => {
  for (const wrong of [
    [0, 1],
    [0, 1, 2, 2],
    [0, 0, 2],
  ]) {
    const rig = await Rig.open();
    const { records, segments } = await three(rig);
    const seal = rig.seal(
      segments,
      wrong.map((i) => records[i]!),
    );
    expect(await codeOf(rig.applier.apply([...segments, seal]))).toBe('TM1503');
    await rig.expectNothingCommitted('TM1503');
  }
});

test('a differential that the agent counted from another base is TM1503', async () => {
  const rig = await Rig.open();
  const { records, segments } = await three(rig);
  await rig.applier.apply([...segments, rig.seal(segments, records)]);
  await rig.begin('differential');
  const segment = await rig.segment(0, [present('a', 5)]);
  const seal = rig.seal([segment], [present('a', 5), records[1]!]);
  expect(await codeOf(rig.applier.apply([segment, seal]))).toBe('TM1503');
  expect(await rig.state()).toBe('sealed');
  await registry.backups.fail(rig.opened.backup.id, 'TM1503', []);
  expect((await registry.backups.list({ sourceId: rig.source.id })).map((one) => one.seq)).toEqual([1]);
});

test('a block that is not in the store is TM1506, also when it is damaged; a present one is taken', async () => {
  for (const make of [
    async () => randomBytes(32),
    async (rig: Rig) => {
      const id = await rig.block();
      await registry.blocks.markDamaged(DOMAIN, [id]);
      return id;
    },
  ]) {
    const rig = await Rig.open();
    const blocks = [await rig.block(), await make(rig)];
    const segment = await rig.segment(0, [present('a', 1, blocks)]);
    expect(await codeOf(rig.applier.apply([segment]))).toBe('TM1506');
    await rig.expectNothingCommitted('TM1506');
  }
  const rig = await Rig.open();
  const records = [present('a', 1, [await rig.block()])];
  const segment = await rig.segment(0, records);
  await rig.applier.apply([segment, rig.seal([segment], records)]);
  expect(await rig.state()).toBe('committed');
});

test('a store that is full when a large run is written: nothing is committed, the next backup works', async () => {
  const rig = await Rig.open();
  const records = Array.from({ length: 4000 }, (_, i) => present(`f${i}`, i));
  const segments = [await rig.segment(0, records)];
  rig.store.inject('create', faults.full(), { prefix: 'packs/' });
  expect(await codeOf(rig.applier.apply([...segments, rig.seal(segments, records)]))).toBe('TM1204');
  const { id, seq, sourceId } = rig.opened.backup;
  expect(await rig.state()).toBe('sealed');
  await registry.backups.fail(id, 'TM1204', []);
  expect(await collect(registry.entries.versions(sourceId, 0, seq))).toEqual([]);
  const again = new Rig();
  again.source = rig.source;
  await again.begin('full');
  const anew = [await again.segment(0, records)];
  await again.applier.apply([...anew, again.seal(anew, records)]);
  expect(await again.state()).toBe('committed');
  expect(await registry.backups.runsOf(sourceId, 2)).toMatchObject([
    { records: 4000, parts: [{ in: 'pack' }] },
  ]);
});

test('pieces of a backup that has ended, or that nobody opened, are dropped', async () => {
  const rig = await Rig.open();
  const { records, segments } = await three(rig);
  const seal = rig.seal(segments, records);
  await registry.backups.fail(rig.opened.backup.id, 'TM1508', []);
  await rig.applier.apply([...segments, seal]);
  const header = { ...segments[0]!.header, backupId: randomUUID() };
  await rig.applier.apply([{ ...segments[0]!, header }]);
  expect(await rig.state()).toBe('failed');
  expect(rig.commits).toBe(0);
  expect(await collect(registry.entries.versions(rig.source.id, 0, 9))).toEqual([]);
});
