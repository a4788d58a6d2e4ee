import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type EntryRecord, RecordOp, RecordWriter } from '../../model/records.ts';
import { compareEntries } from '../../model/tree-path.ts';
import {
  codeOf,
  collect,
  commitOf,
  gone,
  hashOf,
  inPages,
  kept,
  NOW,
  newSource,
  present,
  sealOf,
  segmentOf,
} from '../fixtures.suite.ts';
import type { EntryVersion, Lease, OpenedBackup, Registry, RunBody, SourceRow } from '../port.ts';
import type { RegistryUnderTest } from '../registry.suite.ts';

const PATHS = ['', 'a', 'A', 'a/b', 'a/b/c', 'a!', 'a!/x', 'ab', '\xff', '\x01/\xfe'].map((path) =>
  Buffer.from(path, 'latin1'),
);

/** What keeps a slot: a session, a lease that lasts, or one that has run out. */
type Holder = 'session' | 'lease' | 'past lease';

const leaseOf = (held: Holder): Lease | undefined =>
  held === 'session'
    ? undefined
    : { seconds: held === 'lease' ? 600 : 0, macKey: Buffer.alloc(32, 5), instance: 'i', shards: 1 };

/** What a registry should know of one source, in maps. */
class Model {
  /** Versions by seq: path number to record. */
  readonly versions = new Map<number, Map<number, EntryRecord>>();
  readonly committed: OpenedBackup[] = [];
  readonly tags = new Map<number, Record<string, string>>();
  readonly pinned = new Set<number>();
  seq = 0;
  head = 0;
  baseline = 0;
  events = 0;
  open:
    | {
        opened: OpenedBackup;
        pieces: Map<number, EntryRecord[]>;
        stage: 'open' | 'sealed' | 'committing';
        held: Holder;
      }
    | undefined;
  ended: OpenedBackup | undefined;

  /** Newest version of each path with from < seq <= to. */
  newest(from: number, to: number): Map<number, { seq: number; record: EntryRecord }> {
    const newest = new Map<number, { seq: number; record: EntryRecord }>();
    for (const [seq, records] of [...this.versions].sort(([a], [b]) => a - b)) {
      if (seq > from && seq <= to) for (const [path, record] of records) newest.set(path, { seq, record });
    }
    return newest;
  }

  asOf(seq: number): Map<number, { seq: number; record: EntryRecord }> {
    return new Map([...this.newest(0, seq)].filter(([, { record }]) => record.op === RecordOp.present));
  }
}

interface World {
  readonly registry: Registry;
  readonly other: Registry;
  readonly source: SourceRow;
  readonly model: Model;
}
type Command = (world: World) => Promise<void>;

const open =
  (kind: 'full' | 'differential', held: Holder): Command =>
  async ({ registry, source, model }) => {
    const request = { sourceId: source.id, kind, tags: {}, lease: leaseOf(held) };
    const opening = registry.backups.open(request, NOW);
    const ranOut = model.open?.held === 'past lease' && model.open.stage === 'open';
    if (model.open && !ranOut) {
      expect(await codeOf(opening)).toBe('TM1501');
    } else if (kind === 'differential' && model.baseline === 0) {
      expect(await codeOf(opening)).toBe('TM1303');
    } else {
      const opened = await opening;
      if (model.open) {
        const { id } = model.open.opened.backup;
        expect(await registry.backups.get(id)).toMatchObject({ state: 'failed', failure: 'TM1512' });
        model.ended = model.open.opened;
        model.events++;
      }
      model.seq++;
      expect(opened.backup).toMatchObject({
        seq: model.seq,
        baseSeq: model.head,
        baselineSeq: kind === 'full' ? model.seq : model.baseline,
        state: 'open',
      });
      model.open = { opened, pieces: new Map(), stage: 'open', held };
    }
  };

const apply =
  (batchNo: number, changes: readonly (readonly [number, number])[], elsewhere: boolean): Command =>
  async ({ registry, other, source, model }) => {
    if (!model.open) return;
    const { opened, pieces, stage } = model.open;
    const used = new Set([...pieces.values()].flat().map((one) => indexOf(one)));
    const fresh = new Map(changes.filter(([path]) => !used.has(path)));
    const records = pieces.get(batchNo) ?? [...fresh].map(([path, value]) => recordOf(path, value));
    const { entries } = elsewhere ? other : registry;
    const applying = entries.apply(opened.backup, [segmentOf(source, batchNo, records)]);
    if (stage === 'committing') return expect(await codeOf(applying)).toBe('TM1507');
    await applying;
    pieces.set(batchNo, records);
    const { counts, batches } = await registry.entries.totals(opened.backup.id);
    expect(batches).toEqual([pieces.size]);
    expect(counts.added).toBe([...pieces.values()].flat().length);
  };

const indexOf = ({ dir, name }: EntryRecord): number =>
  PATHS.findIndex((path) => {
    const { dir: d, name: n } = gone(path);
    return d.equals(dir) && n.equals(name);
  });

const recordOf = (path: number, value: number): EntryRecord =>
  value === 0 ? gone(PATHS[path]!) : value === 1 ? kept(PATHS[path]!) : present(PATHS[path]!, value);

const advance: Command = async ({ registry, model }) => {
  if (!model.open) return;
  const { opened, stage } = model.open;
  const { id, epoch, seq } = opened.backup;
  if (stage === 'open') {
    await registry.backups.seal(id, epoch, sealOf(opened));
    model.open.stage = 'sealed';
  } else if (stage === 'sealed') {
    await registry.backups.committing(id, epoch, { writer: 'model', number: seq });
    model.open.stage = 'committing';
  } else {
    await registry.backups.commit(commitOf(opened));
    const records = [...model.open.pieces.values()].flat().filter((one) => one.op !== RecordOp.kept);
    model.versions.set(seq, new Map(records.map((one) => [indexOf(one), one])));
    model.committed.push(opened);
    model.head = seq;
    if (opened.backup.kind === 'full') model.baseline = seq;
    model.events++;
    model.ended = opened;
    model.open = undefined;
  }
};

const renew =
  (held: 'lease' | 'past lease'): Command =>
  async ({ other, model }) => {
    const opened = model.open?.opened ?? model.ended;
    if (!opened) return;
    const renewing = other.backups.renew(opened.backup.id, opened.backup.epoch, leaseOf(held)!.seconds);
    if (!model.open || model.open.held === 'session') expect(await codeOf(renewing)).toBe('TM1502');
    else {
      await renewing;
      model.open.held = held;
    }
  };

/** By whom the slot can be had, and what is to be ended. */
const look: Command = async ({ registry, other, source, model }) => {
  const { stage, held, opened } = model.open ?? {};
  const past = held === 'past lease' && stage === 'open';
  const leased = held !== undefined && held !== 'session';
  const free = !model.open || past || (leased && stage === 'committing');
  expect(await codeOf(other.backups.withSlot(source.id, async () => {}))).toBe(free ? undefined : 'TM1501');
  const ours = ({ sourceId }: { sourceId: number }) => sourceId === source.id;
  expect((await other.backups.abandoned()).filter(ours)).toHaveLength(free && model.open ? 1 : 0);
  const overdue = (await registry.backups.overdue(600)).filter(({ backup }) => ours(backup));
  expect(overdue.map(({ code }) => code)).toEqual(past ? ['TM1512'] : []);
  const stalled = (await registry.backups.overdue(0)).filter(({ backup }) => ours(backup));
  const sealed = leased && stage === 'sealed';
  expect(stalled.map(({ code }) => code)).toEqual(past ? ['TM1512'] : sealed ? ['TM1513'] : []);
  const ids = [opened, model.ended].flatMap((one) => (one ? [one.backup.id] : []));
  const admissions = await other.backups.admissions(ids);
  expect(ids.map((id) => admissions.get(id)?.macKey !== undefined)).toEqual(
    ids.map((id) => leased && id === opened?.backup.id),
  );
};

const fail: Command = async ({ registry, model }) => {
  const opened = model.open?.opened ?? model.ended;
  if (!opened) return;
  await registry.backups.fail(opened.backup.id, 'TM1508', [{ type: 'backup.failed', data: {} }]);
  if (!model.open) return;
  model.events++;
  model.ended = opened;
  model.open = undefined;
};

const late: Command = async ({ registry, source, model }) => {
  if (!model.ended) return;
  const { backup } = model.ended;
  const piece = segmentOf(source, 0, [present('late', 9)]);
  expect(await codeOf(registry.entries.apply(backup, [piece]))).toBe('TM1507');
  expect(await codeOf(registry.backups.commit(commitOf(model.ended)))).toBe('TM1507');
};

const mark =
  (pick: number, value: string): Command =>
  async ({ registry, model }) => {
    const one = model.committed[pick % Math.max(1, model.committed.length)];
    if (!one) return;
    const { id, seq } = one.backup;
    const journal = { writer: 'model-marks', number: 1, chain: Buffer.alloc(32) };
    await registry.backups.setTags(id, { value }, journal);
    await registry.backups.setPinned(id, value.length > 1, journal);
    model.tags.set(seq, { value });
    if (value.length > 1) model.pinned.add(seq);
    else model.pinned.delete(seq);
  };

const text = (source: SourceRow, record: EntryRecord, seq: number): string =>
  `${record.dir.toString('hex')}/${record.name.toString('hex')} ${seq} ${record.op} ${record.op === RecordOp.present ? hashOf(source, record).toString('hex') : ''}`;
const textOf = ({ dir, name, seq, op, hash }: EntryVersion): string =>
  `${dir.toString('hex')}/${name.toString('hex')} ${seq} ${op} ${hash.toString('hex')}`;

const sorted = (source: SourceRow, found: Map<number, { seq: number; record: EntryRecord }>): string[] =>
  [...found.values()]
    .sort((a, b) => compareEntries(a.record.dir, a.record.name, b.record.dir, b.record.name))
    .map(({ seq, record }) => text(source, record, seq));

function bodiesOf(versions: readonly EntryVersion[], bodyBytes: number): RunBody[] {
  const bodies: RunBody[] = [];
  const writer = new RecordWriter();
  for (const [i, version] of versions.entries()) {
    writer.record({ ...version, code: 0 });
    const isLast = i === versions.length - 1;
    if (isLast || writer.bytes >= bodyBytes) bodies.push({ count: writer.count, body: writer.finish() });
  }
  return bodies;
}

/** What readers see as of two of the committed seqs. */
const read =
  (first: number, second: number): Command =>
  async ({ other: { entries }, source, model }) => {
    const seqs = [0, ...model.committed.map((one) => one.backup.seq)];
    const [a, b] = [seqs[first % seqs.length]!, seqs[second % seqs.length]!];
    expect((await collect(entries.list(source.id, a))).map(textOf)).toEqual(sorted(source, model.asOf(a)));
    const visited: string[] = [];
    const shown = ({ dir, name, state }: Pick<EntryRecord, 'dir' | 'name' | 'state'>) =>
      `${dir.toString('hex')}/${name.toString('hex')} ${state.toString('hex')}`;
    await entries.visit(source.id, a, undefined, (entry) => visited.push(shown(entry)));
    expect(visited).toEqual((await collect(entries.list(source.id, a))).map(shown));
    const [low, high] = [Math.min(a, b), Math.max(a, b)];
    const versions = await collect(entries.versions(source.id, low, high));
    expect(versions.map(textOf)).toEqual(sorted(source, model.newest(low, high)));
    for (const bodyBytes of [400, 1 << 20]) {
      const bodies: RunBody[] = [];
      for await (const body of entries.runRecords(source.id, low, high, bodyBytes)) bodies.push(body);
      expect(bodies).toEqual(bodiesOf(versions, bodyBytes));
    }
    const looked = await entries.lookup(source.id, a, PATHS.map(gone));
    expect(looked.map((one) => one?.seq)).toEqual(PATHS.map((_, path) => model.asOf(a).get(path)?.seq));
    for (const limit of [1, 3])
      expect(
        await inPages(
          (page) => entries.list(source.id, a, { page }),
          (one) => one,
          limit,
        ),
      ).toEqual(await collect(entries.list(source.id, a)));
    const [before, after] = [model.asOf(a), model.asOf(b)];
    const state = (of: typeof before, path: number) => of.get(path)?.record.state.toString('hex');
    const changed = PATHS.map((_, path) => path).filter((path) => state(before, path) !== state(after, path));
    const found = (await collect(entries.changes(source.id, a, b))).map(({ key }) =>
      indexOf(key as EntryRecord),
    );
    expect(found.sort()).toEqual(changed.sort());
  };

async function expectBackups({ other, source, model }: World): Promise<void> {
  const row = (await other.backups.sources()).find((one) => one.id === source.id)!;
  expect([row.head, row.baseline, row.epoch.counter]).toEqual([model.head, model.baseline, model.seq]);
  const listed = await other.backups.list({ sourceId: source.id });
  expect(listed.map((one) => [one.seq, one.tags, one.pinned])).toEqual(
    model.committed.map(({ backup: { seq } }) => [seq, model.tags.get(seq) ?? {}, model.pinned.has(seq)]),
  );
  const events = (await other.outbox.pending(100_000)).filter((one) => one.sourceId === source.id);
  expect(events.map((one) => one.eventNo)).toEqual(Array.from({ length: model.events }, (_, i) => i + 1));
}

const pick = fc.nat({ max: 99 });
const change = fc.tuple(fc.nat({ max: PATHS.length - 1 }), fc.nat({ max: 4 }));
const made = <T extends unknown[]>(
  weight: number,
  name: string,
  args: fc.Arbitrary<T>,
  toCommand: (...args: T) => Command,
) => ({
  weight,
  arbitrary: args.map((values) => ({
    run: toCommand(...values),
    [fc.toStringMethod]: () => `${name}${fc.stringify(values)}`,
  })),
});
const none = fc.constant<[]>([]);
const kinds = fc.constantFrom('full' as const, 'differential' as const);
const holders = fc.constantFrom('session' as const, 'lease' as const, 'past lease' as const);
const command = fc.oneof(
  made(4, 'open', fc.tuple(kinds, holders), open),
  made(2, 'renew', fc.tuple(fc.constantFrom('lease' as const, 'past lease' as const)), renew),
  made(2, 'look', none, () => look),
  made(6, 'apply', fc.tuple(fc.nat({ max: 4 }), fc.array(change, { maxLength: 5 }), fc.boolean()), apply),
  made(9, 'advance', none, () => advance),
  made(1, 'fail', none, () => fail),
  made(1, 'late', none, () => late),
  made(1, 'mark', fc.tuple(pick, fc.string({ maxLength: 3, unit: 'grapheme' })), mark),
  made(3, 'read', fc.tuple(pick, pick), read),
);

export function modelCase(under: () => RegistryUnderTest): void {
  it('does with one source what maps would do, over any sequence of calls', async () => {
    const other = await under().other();
    await fc.assert(
      fc.asyncProperty(fc.array(command, { maxLength: 60, size: 'max' }), async (commands) => {
        const { registry } = under();
        const world = { registry, other, source: await newSource(registry), model: new Model() };
        for (const { run } of commands) {
          await run(world);
          await expectBackups(world);
        }
        await read(1, 0)(world);
        if (world.model.open) await fail(world);
      }),
      { numRuns: 25 },
    );
    await other.close();
  });
}
