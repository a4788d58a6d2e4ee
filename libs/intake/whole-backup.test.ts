import { randomBytes, randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { collectBackup } from '../agent/collect-backup.ts';
import { openScan } from '../agent/open-scan.ts';
import { DeltaCalculator } from '../calculate/delta-calculator.ts';
import { Committer } from '../commit/committer.ts';
import { DataKey, dataKeyName } from '../commit/data-key.ts';
import { DeltaApplier } from '../commit/delta-applier.ts';
import { PackIntake } from '../commit/pack-intake.ts';
import { decodeState } from '../model/entry.ts';
import { baseName, fromSlashes, parentPath } from '../model/tree-path.ts';
import { NOW } from '../registry/fixtures.suite.ts';
import type { OpenedBackup, SourceRow } from '../registry/port.ts';
import { BlockReader } from '../restore/block-reader.ts';
import { contentOf } from '../restore/content.ts';
import { JournalWriter } from '../store/journal.ts';
import { InProcessTransport } from '../transport/in-process.ts';
import { RemoteBlockSupplier } from './remote-block-supplier.ts';
import { RemoteIntake } from './remote-intake.ts';
import { IntakeRig } from './rig.suite.ts';
import type { Writers } from './writers.ts';

let rig: IntakeRig;
let folder: string;

beforeAll(async () => {
  rig = await IntakeRig.make();
  folder = mkdtempSync(join(rig.folder, 'tree-'));
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await rig.close();
});

/** Many small files, files of the same content, one of several blocks, one with a recipe tree, one with a hole. */
function makeTree(): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  for (let n = 0; n < 700; n++) files.set(`small/${n % 7}/${n}`, randomBytes(n * 5));
  const large = randomBytes(9_000_000);
  files.set('large', large);
  files.set('copy', large);
  files.set('empty', Buffer.alloc(0));
  files.set('zeros', Buffer.concat([Buffer.alloc(3_000_000), randomBytes(1000)]));
  files.set('huge', randomBytes(90_000_000));
  for (const [path, bytes] of files) {
    mkdirSync(join(folder, path, '..'), { recursive: true });
    writeFileSync(join(folder, path), bytes);
  }
  return files;
}

/** Everything behind the agent, in this process; the blocks of runs go by their own way. */
async function backUp(writers: Writers, source: SourceRow, opened: OpenedBackup): Promise<DataKey> {
  const { registry, store, domain } = rig;
  const put = ({ id, wrapped }: { id: Buffer; wrapped: Buffer }) => store.create(dataKeyName(id), [wrapped]);
  const ofWriter = new DataKey(domain, put);
  const ofAgent = new DataKey(domain, async () => {});
  const options = { domainId: domain.id, blocks: registry.blocks, store, packBytes: 1 << 20 };
  const runs = new PackIntake({ ...options, wrappedKey: (id) => ofWriter.wrapped(id) });
  const writer = randomUUID();
  const committer = new Committer({
    ...{ registry, store, ownerGeneration: 1, intake: runs, writer, now: () => NOW },
    seal: (plain, kind) => ofWriter.seal(plain, kind),
    journal: async () =>
      new JournalWriter(store, { writer, head: undefined, ownerGeneration: 1, now: () => NOW }),
  });
  const transport = new InProcessTransport({
    onPoison: async (_topic, _message, error) => ended.reject(error),
  });
  const ended = Promise.withResolvers<void>();
  const applier = new DeltaApplier(registry, (_, ids) => registry.blocks.present(domain.id, ids), {
    commit: async (backup, seal, totals) => {
      const outcome = await committer.commit(backup, source, seal, totals);
      if (outcome.state === 'committed') ended.resolve();
      else ended.reject(outcome.error);
    },
    settle: async () => {},
  });
  const calculator = new DeltaCalculator(registry.entries, async () => ({ backup: opened.backup, source }));
  transport.subscribe('change-events', async (messages) => {
    for (const message of messages)
      await transport.publish('delta-sets', [await calculator.calculate(message)]);
  });
  transport.subscribe('delta-sets', (messages) => applier.apply(messages));
  const intake = new RemoteIntake({
    writers,
    backupId: opened.backup.id,
    wrappedKey: (id) => ofAgent.wrapped(id),
  });
  const scan = await openScan(undefined, {
    ...{ root: Buffer.from(folder), kind: 'full', rootHint: undefined, excludes: [], oneFileSystem: false },
    ...{ acceptRoot: false, stateFile: join(rig.folder, 'state'), skip: [] },
  });
  try {
    const collected = collectBackup(
      opened,
      scan,
      {
        ...{ intake, transport, domain, sourceKey: source.key, sourceUid: source.uid },
        keyRange: () => ofAgent.range(),
      },
      { threads: 2, onProblem: () => {}, onProgress: () => {} },
    );
    await Promise.all([collected, ended.promise]);
  } finally {
    scan.close();
    await transport.close();
  }
  return ofAgent;
}

test('a whole backup goes through two writers over HTTP and is read back through them, byte by byte', async () => {
  const files = makeTree();
  const servers = [await rig.server(), await rig.server()];
  const writers = rig.writers(servers);
  const source = await rig.source(folder);
  const opened = await rig.registry.backups.open({ sourceId: source.id, kind: 'full', tags: {} }, NOW);
  const dataKey = await backUp(writers, source, opened);
  expect(await rig.registry.backups.get(opened.backup.id)).toMatchObject({ state: 'committed' });
  const { key } = await dataKey.range();
  const supplier = new RemoteBlockSupplier({ writers, backupId: opened.backup.id, key: async () => key });
  const reader = new BlockReader({ domainId: rig.domain.id, dedupKey: rig.domain.dedupKey }, supplier);
  const paths = [...files.keys()].map((path) => fromSlashes(path));
  const keys = paths.map((path) => ({ dir: parentPath(path), name: baseName(path) }));
  const versions = await rig.registry.entries.lookup(source.id, opened.backup.seq, keys);
  for (const [i, path] of [...files.keys()].entries()) {
    const pieces = await Array.fromAsync(contentOf(decodeState(versions[i]!.state), reader.read));
    expect(Buffer.concat(pieces).equals(readFileSync(join(folder, path))), path).toBe(true);
  }
});
