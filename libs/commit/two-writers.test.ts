import { randomBytes, randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FrameSealer } from '../blocks/frame.ts';
import { DeltaCalculator } from '../calculate/delta-calculator.ts';
import type { ChangeBatch, DeltaMessage, DeltaSegment } from '../contracts/messages.ts';
import { blake3, DigestSum, KeyedHasher } from '../model/digests.ts';
import { TmError } from '../model/errors.ts';
import { type EntryRecord, RecordOp } from '../model/records.ts';
import { TestHome } from '../registry/embedded/fixtures.suite.ts';
import { acquireEmbeddedPostgres, type EmbeddedPostgres } from '../registry/embedded/index.ts';
import {
  bodyOf,
  codeOf,
  collect,
  gone,
  hashOf,
  NOW,
  newSource,
  present,
  sealOf,
} from '../registry/fixtures.suite.ts';
import type { OpenedBackup, Registry, SourceRow } from '../registry/port.ts';
import { openPostgresRegistry } from '../registry/postgres/open-postgres-registry.ts';
import { FaultyStore, faults } from '../store/faulty-store.ts';
import { JournalWriter, listWriters, readJournal } from '../store/journal.ts';
import { MemoryStore } from '../store/memory/memory-store.ts';
import type { Store } from '../store/port.ts';
import { type CommitOutcome, Committer } from './committer.ts';
import { DeltaApplier } from './delta-applier.ts';
import { PackIntake } from './pack-intake.ts';

const DOMAIN = '00112233-4455-6677-8899-aabbccddeeff';
const LEASE = { seconds: 600, macKey: Buffer.alloc(32, 7), instance: 'i', shards: 2 };

let home: TestHome;
let postgres: EmbeddedPostgres;
/** Of the control plane, which opens backups and looks. */
let registry: Registry;
/** Those of two writers: each has its own connections, as another process. */
let ofWriters: readonly [Registry, Registry];

beforeAll(async () => {
  home = new TestHome();
  postgres = await acquireEmbeddedPostgres({ home: home.home });
  const open = () => openPostgresRegistry({ connection: postgres.connection });
  registry = await open();
  ofWriters = [await open(), await open()];
});

afterAll(async () => {
  for (const one of [registry, ...ofWriters]) await one.close();
  await postgres.release();
  await home.dispose();
});

/** A storage writer: applier and committer over a registry, a store and one of the lanes. */
class Writer {
  readonly outcomes: CommitOutcome[] = [];
  readonly committer: Committer;
  readonly #applier: DeltaApplier;

  constructor(own: Registry, store: Store, lane: string, ids: KeyedHasher) {
    const keyId = randomBytes(16);
    const sealer = new FrameSealer({
      domainId: DOMAIN,
      keyId,
      key: randomBytes(32),
      firstFrameNo: 0,
      endFrameNo: 2 ** 40,
    });
    this.committer = new Committer({
      registry: own,
      store,
      ownerGeneration: 1,
      intake: new PackIntake({
        domainId: DOMAIN,
        blocks: own.blocks,
        store,
        wrappedKey: async () => ({ id: keyId, wrapped: Buffer.from('wrapped') }),
        packBytes: 1 << 20,
      }),
      seal: async (plain, kind) => {
        const block = { id: ids.digest(plain), length: plain.length, kind, children: Buffer.alloc(0) };
        return sealer.seal([{ ...block, bytes: plain }]);
      },
      journal: async () => {
        const head = (await own.journal.heads()).find((one) => one.writer === lane);
        return new JournalWriter(store, { writer: lane, head, ownerGeneration: 1, now: () => NOW });
      },
      writer: lane,
      now: () => NOW,
    });
    const sourceOf = async (id: number) => (await own.backups.sources()).find((one) => one.id === id)!;
    this.#applier = new DeltaApplier(own, (_, ids) => own.blocks.present(DOMAIN, ids), {
      commit: async (backup, seal, totals) => {
        const source = await sourceOf(backup.sourceId);
        this.outcomes.push(await this.committer.commit(backup, source, seal, totals));
      },
      settle: async (backup) => void this.outcomes.push(await this.committer.settle(backup)),
    });
  }

  /** As a consumer does: a store that fails is tried again, everything else is an error of the test. */
  async take(messages: readonly DeltaMessage[]): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#applier.apply(messages);
      } catch (error) {
        if (!(error instanceof TmError && error.code === 'TM1211') || tries === 20) throw error;
      }
    }
  }
}

/** One backup of a source, its pieces and the tree that the agent says it has. */
interface Made {
  readonly source: SourceRow;
  readonly opened: OpenedBackup;
  readonly pieces: readonly DeltaMessage[];
  readonly tree: readonly EntryRecord[];
}

async function make(
  source: SourceRow,
  kind: 'full' | 'differential',
  batches: readonly (readonly EntryRecord[])[],
  tree: readonly EntryRecord[],
): Promise<Made> {
  const opened = await registry.backups.open({ sourceId: source.id, kind, tags: {}, lease: LEASE }, NOW);
  const calculator = new DeltaCalculator(registry.entries, async () => ({ backup: opened.backup, source }));
  const segments: DeltaSegment[] = [];
  for (const [i, records] of batches.entries()) {
    const body = bodyOf(records);
    const header = { ...sealOf(opened).header, shard: i % 2, batchNo: i >> 1 };
    const batch: ChangeBatch = { type: 'batch', header, count: records.length, body, digest: blake3(body) };
    segments.push((await calculator.calculate(batch)) as DeltaSegment);
  }
  const [batchDigest, stateDigest] = [new DigestSum(), new DigestSum()];
  for (const segment of segments) batchDigest.add(segment.batchDigest);
  for (const record of tree) stateDigest.add(hashOf(source, record));
  const seal = sealOf(opened, {
    totals: { ...sealOf(opened).totals, files: tree.length },
    batches: [Math.ceil(segments.length / 2), Math.floor(segments.length / 2)],
    batchDigest: batchDigest.bytes(),
    stateDigest: stateDigest.bytes(),
  });
  return { source, opened, pieces: [...segments, seal], tree };
}

const names = (n: number): string[] => Array.from({ length: n }, (_, i) => `d${i % 3}/f${i}`);

async function full(size: number): Promise<Made> {
  const source = await newSource(registry, `/${randomUUID()}`, DOMAIN);
  const tree = names(size).map((name, i) => present(name, i));
  return make(
    source,
    'full',
    tree.map((record) => [record]),
    tree,
  );
}

function differential({ source, tree }: Made): Promise<Made> {
  const changes = tree.map(({ dir, name }, i) => {
    const path = Buffer.from(`${dir}/${name}`);
    return i % 3 === 0 ? gone(path) : present(path, i + 100);
  });
  const left = changes.filter(({ op }) => op === RecordOp.present);
  return make(
    source,
    'differential',
    changes.map((record) => [record]),
    left,
  );
}

/** Which messages each of two writers gets, one batch after the other; together at least twice every one. */
type Schedule = readonly [DeltaMessage[][], DeltaMessage[][]];

const schedules = (pieces: number): fc.Arbitrary<readonly (readonly [number, number])[]> => {
  const twice = Array.from({ length: pieces * 2 }, (_, i) => i % pieces);
  const order = fc.shuffledSubarray(
    twice.map((piece, at) => ({ piece, at })),
    { minLength: twice.length },
  );
  const to = fc.array(fc.nat({ max: 1 }), { minLength: twice.length, maxLength: twice.length });
  return fc.tuple(order, to).map(([all, writers]) => all.map(({ piece }, i) => [piece, writers[i]!]));
};

function scheduled(made: Made, plan: readonly (readonly [number, number])[], size: number): Schedule {
  const batches: Schedule = [[], []];
  for (const [piece, to] of plan) {
    const last = batches[to as 0 | 1].at(-1);
    if (last && last.length < size) last.push(made.pieces[piece]!);
    else batches[to as 0 | 1].push([made.pieces[piece]!]);
  }
  return batches;
}

async function deliver(writers: readonly Writer[], schedule: Schedule): Promise<void> {
  const consume = async (writer: Writer, batches: DeltaMessage[][]) => {
    for (const batch of batches) await writer.take(batch);
  };
  await Promise.all(writers.map((writer, i) => consume(writer, schedule[i as 0 | 1])));
}

async function commitsIn(store: Store): Promise<string[]> {
  const ids: string[] = [];
  for (const writer of await listWriters(store))
    for await (const { records } of readJournal(store, writer, undefined))
      for (const record of records) if (record.kind === 'commit') ids.push(record.backupId);
  return ids;
}

async function eventsOf(source: SourceRow): Promise<string[]> {
  const rows = await registry.outbox.pending(100_000);
  return rows.filter((row) => row.sourceId === source.id).map(({ type }) => type);
}

/** Committed once: in the journal, as an event, with the tree that the agent has. */
async function expectOneCommit(store: Store, { opened, source, tree }: Made): Promise<void> {
  const { id, seq } = opened.backup;
  expect(await registry.backups.get(id)).toMatchObject({ state: 'committed' });
  expect((await commitsIn(store)).filter((one) => one === id)).toEqual([id]);
  const hashes = (all: readonly Buffer[]) => all.map((hash) => hash.toString('hex')).sort();
  const listed = await collect(registry.entries.list(source.id, seq));
  expect(hashes(listed.map(({ hash }) => hash))).toEqual(hashes(tree.map((one) => hashOf(source, one))));
  expect((await registry.backups.admissions([id])).get(id)?.macKey).toBeUndefined();
}

function twoWriters(store: Store, lanes: readonly [string, string]): readonly [Writer, Writer] {
  const ids = new KeyedHasher(randomBytes(32));
  return [new Writer(ofWriters[0], store, lanes[0], ids), new Writer(ofWriters[1], store, lanes[1], ids)];
}

const SIZE = 5;
const plans = fc.tuple(
  schedules(SIZE + 1),
  schedules(SIZE + 1),
  fc.integer({ min: 1, max: 4 }),
  fc.boolean(),
);

test('two writers that get everything twice, in any order and at once, commit each backup once', async () => {
  await fc.assert(
    fc.asyncProperty(plans, async ([first, second, size, sameLane]) => {
      const store = new MemoryStore();
      const lane = randomUUID();
      const writers = twoWriters(store, [lane, sameLane ? lane : randomUUID()]);
      const base = await full(SIZE);
      await deliver(writers, scheduled(base, first, size));
      await expectOneCommit(store, base);
      const next = await differential(base);
      await deliver(writers, scheduled(next, second, size));
      await expectOneCommit(store, next);
      expect(await eventsOf(base.source)).toEqual([
        'backup.committed',
        'baseline.promoted',
        'backup.committed',
      ]);
      expect(writers.flatMap(({ outcomes }) => outcomes).filter(({ state }) => state === 'failed')).toEqual(
        [],
      );
    }),
    { numRuns: 60, seed: 10 },
  );
});

test('two writers see the last piece at once: one commits, the other one waits and finds it committed', async () => {
  for (const sameLane of [true, false]) {
    const store = new FaultyStore(new MemoryStore());
    const lane = randomUUID();
    const writers = twoWriters(store, [lane, sameLane ? lane : randomUUID()]);
    const made = await full(SIZE);
    await writers[0].take(made.pieces.slice(1));
    const { fault, reached, release } = faults.stall();
    store.inject('create', fault, { prefix: 'journal/' });
    const first = writers[0].take([made.pieces[0]!]);
    await reached;
    const second = writers[1].take([made.pieces[0]!]);
    const { id } = made.opened.backup;
    expect(await registry.backups.get(id)).toMatchObject({ state: 'committing' });
    release();
    await Promise.all([first, second]);
    await expectOneCommit(store, made);
    expect(writers.map(({ outcomes }) => outcomes)).toMatchObject([
      [{ state: 'committed' }],
      [{ state: 'committed' }],
    ]);
  }
});

test('a writer whose reply from the store is lost settles by what the journal holds, as does the other one', async () => {
  for (const fault of [faults.lostReply, faults.failing]) {
    const store = new FaultyStore(new MemoryStore());
    const writers = twoWriters(store, [randomUUID(), randomUUID()]);
    const made = await full(SIZE);
    store.inject('create', fault(), { prefix: 'journal/' });
    await Promise.all([writers[0].take(made.pieces), writers[1].take(made.pieces)]);
    const { id } = made.opened.backup;
    const states = writers.flatMap(({ outcomes }) => outcomes.map(({ state }) => state));
    const { state } = (await registry.backups.get(id))!;
    expect(states.every((one) => one === state)).toBe(true);
    expect(await commitsIn(store)).toEqual(state === 'committed' ? [id] : []);
    expect(await eventsOf(made.source)).toHaveLength(state === 'committed' ? 2 : 1);
    if (fault === faults.lostReply) expect(state).toBe('committed');
  }
});

test('a backup that the control plane ended meanwhile is left by both writers', async () => {
  const store = new MemoryStore();
  const writers = twoWriters(store, [randomUUID(), randomUUID()]);
  const made = await full(SIZE);
  await writers[0].take(made.pieces.slice(2));
  await registry.backups.abort(made.opened.backup.id, 'TM1513', []);
  await Promise.all([writers[0].take(made.pieces), writers[1].take(made.pieces)]);
  expect(await commitsIn(store)).toEqual([]);
  expect(await registry.backups.get(made.opened.backup.id)).toMatchObject({ failure: 'TM1513' });
  expect(await collect(registry.entries.versions(made.source.id, 0, 9))).toEqual([]);
});

test('a piece that comes after the last one was proved keeps the backup from being committed', async () => {
  const store = new FaultyStore(new MemoryStore());
  const writers = twoWriters(store, [randomUUID(), randomUUID()]);
  const made = await full(SIZE);
  const { id, epoch } = made.opened.backup;
  await writers[0].take(made.pieces.slice(1));
  const late = { ...(made.pieces[0] as DeltaSegment), header: { ...made.pieces[0]!.header, batchNo: 99 } };
  await registry.entries.apply(made.opened.backup, [{ ...late, ...late.header }]);
  const committing = registry.backups.committing(id, epoch, { writer: 'w', number: 1 }, SIZE - 1);
  expect(await codeOf(committing)).toBe('TM1504');
  expect(await registry.backups.get(id)).toMatchObject({ state: 'sealed' });
  expect(await commitsIn(store)).toEqual([]);
});
