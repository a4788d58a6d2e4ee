import { randomBytes, randomUUID } from 'node:crypto';
import { gearSeedOf } from '../blocks/keys.ts';
import { type BackupContext, DeltaCalculator } from '../calculate/delta-calculator.ts';
import { Collector, type CollectProblem, type CollectProgress } from '../collect/collector.ts';
import type { WorkerSetup } from '../collect/protocol.ts';
import { type CommitOutcome, Committer } from '../commit/committer.ts';
import { DeltaApplier } from '../commit/delta-applier.ts';
import { PackIntake } from '../commit/pack-intake.ts';
import { sealSource, sourceRecord } from '../commit/source-record.ts';
import type { BackupInfo } from '../model/backup.ts';
import { TmError } from '../model/errors.ts';
import type { BackupKind } from '../model/label.ts';
import type { OpenedBackup, SourceRow } from '../registry/port.ts';
import { InProcessTransport } from '../transport/in-process.ts';
import { checkedRoot } from './checked-root.ts';
import type { Engine } from './engine.ts';
import { CLOCK_GRANULARITY_NS, type OpenScan, openScan } from './open-scan.ts';
import { publishOutbox } from './outbox.ts';
import { ownPaths } from './own-folders.ts';
import { settleSource } from './recover.ts';

export interface BackupRequest {
  /** Bytes, or their text (model/byte-text.ts). */
  readonly dir: Buffer | string;
  readonly kind: BackupKind | undefined;
  readonly tags: Readonly<Record<string, string>>;
  readonly excludes: readonly string[];
  readonly oneFileSystem: boolean;
  readonly acceptRoot: boolean;
  readonly threads: number;
  readonly onProblem: (problem: CollectProblem) => void;
  readonly onProgress: (progress: CollectProgress) => void;
  readonly signal: AbortSignal;
}

/** Three packs are in memory at most: one that is being filled, two that are being written. */
const PACK_BYTES = 16 * 1024 * 1024;

/** One backup of one folder: opens the slot, runs the stages over the in-process transport, and ends it one way or the other. */
export async function backup(engine: Engine, request: BackupRequest): Promise<BackupInfo> {
  const root = await checkedRoot(request.dir, ownPaths(engine));
  const source = await ensureSource(engine, root);
  const kind = request.kind ?? (source.baseline > 0 ? 'differential' : 'full');
  if (kind === 'differential' && source.baseline === 0) {
    throw new TmError('TM1001', 'there is no full backup of this folder yet; leave --differential out');
  }
  const { registry } = engine;
  await settleSource(engine, source.id);
  const opened = await registry.journal.withStoreLock('shared', async () =>
    registry.backups.open({ sourceId: source.id, kind, tags: request.tags }, await registry.now()),
  );
  let scan: OpenScan | undefined;
  try {
    scan = await openScan(engine, opened, root, request);
    const info = await runStages(engine, opened, scan, request);
    await afterCommit(engine, scan);
    return info;
  } catch (error) {
    const code = error instanceof TmError ? error.code : 'TM1099';
    const failed = await failUnlessCommitted(engine, opened, code).catch(() => false);
    if (failed) scan?.state.abandon();
    else scan?.state.leave();
    throw error;
  } finally {
    scan?.close();
  }
}

/** Nothing here can undo the backup: the next command publishes what is left, and finds the state by its other name. */
async function afterCommit(engine: Engine, { state }: OpenScan): Promise<void> {
  try {
    state.commit();
    await publishOutbox(engine);
  } catch (error) {
    engine.config.onStatus(`the backup is committed, but what follows it is put off: ${String(error)}`);
  }
}

/** False for a backup that reached `committing`: it is settled by what the journal holds, at the next start. */
async function failUnlessCommitted(
  engine: Engine,
  { backup: { id, label } }: OpenedBackup,
  code: string,
): Promise<boolean> {
  const now = await engine.registry.backups.get(id);
  if (!now || now.state === 'committing' || now.state === 'committed') return false;
  await engine.registry.backups.fail(id, code, [
    { type: 'backup.failed', data: { backupId: id, label, code } },
  ]);
  return true;
}

async function ensureSource(engine: Engine, root: Buffer): Promise<SourceRow> {
  const { registry, home, domain } = engine;
  const known = (await registry.backups.sources()).find(
    (one) => one.agent === home.agent && one.root.equals(root),
  );
  if (known) return known;
  const [uid, key] = [randomUUID(), randomBytes(32)];
  const made = { uid, agent: home.agent, root, key, domain: domain.id };
  const sealed = await sealSource(made, engine.seal);
  let source: SourceRow | undefined;
  await engine.decide([sourceRecord(made, 0)], [sealed], async (head) => {
    source = await registry.backups.ensureSource(made);
    await registry.journal.setHead(head);
  });
  return source!;
}

/** Wires agent, calculator and writer together for this backup and waits for the commit. */
async function runStages(
  engine: Engine,
  opened: OpenedBackup,
  scan: OpenScan,
  request: BackupRequest,
): Promise<BackupInfo> {
  const { registry } = engine;
  const abort = new AbortController();
  const committed = Promise.withResolvers<void>();
  committed.promise.catch(() => {});
  const stop = (error: unknown) => {
    committed.reject(error);
    abort.abort();
  };
  const ended = (outcome: CommitOutcome) =>
    outcome.state === 'committed' ? committed.resolve() : stop(outcome.error);
  const transport = new InProcessTransport({ onPoison: async (_topic, _message, error) => stop(error) });
  const intake = new PackIntake({
    domainId: engine.domain.id,
    blocks: registry.blocks,
    store: engine.store,
    wrappedKey: () => engine.dataKey.wrapped(),
    packBytes: PACK_BYTES,
  });
  const context: BackupContext = { backup: opened.backup, source: opened.source };
  const calculator = new DeltaCalculator(registry.entries, async () => context);
  const committer = new Committer({
    registry,
    store: engine.store,
    ownerGeneration: engine.storeRow.ownerGeneration,
    intake,
    seal: engine.seal,
    journal: () => engine.journal(),
    writer: engine.home.writer,
    now: () => new Date(),
  });
  const applier = new DeltaApplier(registry, async () => opened.source.domain, {
    commit: async (backup, seal) => ended(await committer.commit(backup, opened.source, seal)),
    settle: async (backup) => ended(await committer.settle(backup)),
  });
  transport.subscribe('change-events', async (messages) => {
    for (const message of messages)
      await transport.publish('delta-sets', [await calculator.calculate(message)]);
  });
  transport.subscribe('delta-sets', (messages) => applier.apply(messages));
  try {
    const collector = new Collector({
      scan: scan.scan,
      state: scan.state,
      intake,
      transport,
      workers: () => workerSetups(engine, opened, scan, request.threads),
      opened,
      now: () => new Date(),
      onProblem: request.onProblem,
      onProgress: (progress) =>
        request.onProgress({ ...progress, totalBytes: progress.totalBytes ?? scan.expectedBytes }),
      onState: (stateDigest) => scan.finishState(opened, stateDigest),
      signal: AbortSignal.any([request.signal, abort.signal]),
    });
    await collector.run().catch((error) => {
      stop(error);
    });
    await committed.promise;
  } finally {
    await transport.close();
  }
  return (await registry.backups.get(opened.backup.id))!;
}

async function workerSetups(
  engine: Engine,
  opened: OpenedBackup,
  scan: OpenScan,
  threads: number,
): Promise<WorkerSetup[]> {
  const { domain, dataKey } = engine;
  const setups: WorkerSetup[] = [];
  for (let i = 0; i < threads; i++) {
    setups.push({
      domainId: domain.id,
      dedupKey: domain.dedupKey,
      digestKey: domain.digestKey,
      gearSeed: gearSeedOf(domain),
      sourceKey: opened.source.key,
      dataKey: await dataKey.range(),
      rootDev: scan.rootDev,
      startedAtNs: scan.startedAtNs,
      granularityNs: CLOCK_GRANULARITY_NS,
    });
  }
  return setups;
}
