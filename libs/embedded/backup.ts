import { checkedRoot } from '../agent/checked-root.ts';
import { type CollectRequest, collectBackup } from '../agent/collect-backup.ts';
import { type OpenScan, openScan } from '../agent/open-scan.ts';
import { type BackupContext, DeltaCalculator } from '../calculate/delta-calculator.ts';
import { ensureSource } from '../cell/ensure-source.ts';
import { settleSource } from '../cell/recover.ts';
import type { CollectProblem, CollectProgress } from '../collect/collector.ts';
import type { Resumed } from '../collect/known-entries.ts';
import { abortBackup } from '../commit/abort-backup.ts';
import { type CommitOutcome, Committer } from '../commit/committer.ts';
import { type BackupEnding, type BlockPresence, DeltaApplier } from '../commit/delta-applier.ts';
import { PackIntake } from '../commit/pack-intake.ts';
import type { DeltaMessage } from '../contracts/messages.ts';
import type { BackupInfo } from '../model/backup.ts';
import type { Compression } from '../model/compression.ts';
import { TmError } from '../model/errors.ts';
import type { BackupKind } from '../model/label.ts';
import type { OpenedBackup, OpenRequest, SourceRow } from '../registry/port.ts';
import { InProcessTransport } from '../transport/in-process.ts';
import type { Engine } from './engine.ts';
import { ownFolders, ownPaths } from './own-folders.ts';
import { scanBase } from './scan-base.ts';

export interface BackupRequest {
  /** Bytes, or their text (model/byte-text.ts). */
  readonly dir: Buffer | string;
  readonly kind: BackupKind | undefined;
  readonly tags: Readonly<Record<string, string>>;
  readonly excludes: readonly string[];
  readonly oneFileSystem: boolean;
  readonly acceptRoot: boolean;
  readonly threads: number;
  /** Of a watched source: reasons of the gaps that are open, sorted. */
  readonly gaps?: readonly string[] | undefined;
  readonly compression?: Compression | undefined;
  readonly onProblem: (problem: CollectProblem) => void;
  readonly onProgress: (progress: CollectProgress) => void;
  readonly onResumed?: (resumed: Resumed) => void;
  readonly signal: AbortSignal;
}

/** Three packs are in memory at most: one that is being filled, two that are being written. */
const PACK_BYTES = 16 * 1024 * 1024;

/** One backup of one folder, by a walk. */
export async function backup(engine: Engine, request: BackupRequest): Promise<BackupInfo> {
  const root = await checkedRoot(request.dir, ownPaths(engine));
  const source = await sourceOf(engine, root);
  const kind = request.kind ?? (source.baseline > 0 ? 'differential' : 'full');
  if (kind === 'differential' && source.baseline === 0) {
    throw new TmError('TM1001', 'there is no full backup of this folder yet; leave --differential out');
  }
  return backupBy(engine, source, { ...request, kind }, async (opened) =>
    openScan(await scanBase(engine.registry, opened), {
      ...request,
      root,
      kind,
      rootHint: opened.source.rootHint,
      stateFile: engine.home.stateFile(source.uid),
      skip: ownFolders(engine),
    }),
  );
}

/** Of a folder of this host, as `checkedRoot` gives it. */
export const sourceOf = (engine: Engine, root: Buffer): Promise<SourceRow> =>
  ensureSource(engine, engine.domain, { name: engine.home.agent, uid: undefined }, root);

export interface StagesRequest extends CollectRequest {
  readonly kind: BackupKind;
  readonly tags: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/**
 * Opens a source's slot, runs the stages over the in-process transport on whatever scan `open` gives for it, and ends the
 * backup one way or the other.
 */
export async function backupBy(
  engine: Engine,
  source: SourceRow,
  request: StagesRequest,
  open: (opened: OpenedBackup) => Promise<OpenScan>,
): Promise<BackupInfo> {
  const { registry } = engine;
  const { kind, tags } = request;
  const opened = await openSlot(engine, { sourceId: source.id, kind, tags });
  let scan: OpenScan | undefined;
  try {
    scan = await open(opened);
    const info = await runStages(engine, opened, scan, request);
    await afterCommit(engine, scan);
    return info;
  } catch (error) {
    const code = error instanceof TmError ? error.code : 'TM1099';
    // One that is being committed is settled by what the journal holds, at the next start.
    const state = await abortBackup(registry, opened.backup, code).catch(() => undefined);
    if (state === 'failed') scan?.state.abandon();
    else scan?.state.leave();
    throw error;
  } finally {
    scan?.close();
  }
}

/** What broke off while it was being committed is settled first, where there is such a one. */
async function openSlot(engine: Engine, request: OpenRequest): Promise<OpenedBackup> {
  const { backups } = engine.registry;
  try {
    return await backups.open(request);
  } catch (error) {
    if (!(error instanceof TmError && error.code === 'TM1504')) throw error;
    await settleSource(engine, request.sourceId);
    return backups.open(request);
  }
}

/** Nothing here can undo the backup: the next command publishes what is left, and finds the state by its other name. */
async function afterCommit(engine: Engine, scan: OpenScan): Promise<void> {
  try {
    scan.commit();
    await engine.registry.outbox.passOver();
  } catch (error) {
    engine.config.onStatus(`the backup is committed, but what follows it is put off: ${String(error)}`);
  }
}

/** Wires agent, calculator and writer together for this backup and waits for the commit. */
async function runStages(
  engine: Engine,
  opened: OpenedBackup,
  scan: OpenScan,
  request: StagesRequest,
): Promise<BackupInfo> {
  const { registry } = engine;
  const abort = new AbortController();
  const committed = Promise.withResolvers<BackupInfo>();
  committed.promise.catch(() => {});
  const stop = (error: unknown) => {
    committed.reject(error);
    abort.abort();
  };
  const ended = (outcome: CommitOutcome) =>
    outcome.state === 'committed' ? committed.resolve(outcome.backup) : stop(outcome.error);
  const transport = new InProcessTransport({ onPoison: async (_topic, _message, error) => stop(error) });
  const intake = new PackIntake({
    domainId: engine.domain.id,
    blocks: registry.blocks,
    store: engine.store,
    wrappedKey: (id) => engine.dataKey.wrapped(id),
    packBytes: PACK_BYTES,
    hasOthers: opened.backup.baseSeq > 0,
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
  const ending: BackupEnding = {
    commit: async (backup, seal, totals) =>
      ended(await committer.commit(backup, opened.source, seal, totals)),
    settle: async (backup) => ended(await committer.settle(backup)),
  };
  const present: BlockPresence = (_, ids) => intake.present(ids);
  const applier = new DeltaApplier(registry, present, ending, async () => opened.backup);
  transport.subscribe('change-events', async (messages) => {
    const deltas: DeltaMessage[] = [];
    for (const message of messages) deltas.push(await calculator.calculate(message));
    await transport.publish('delta-sets', deltas);
  });
  transport.subscribe('delta-sets', (messages) => applier.apply(messages));
  try {
    const { domain } = engine;
    const into = { intake, transport, domain, keyRange: () => engine.dataKey.range() };
    const { key: sourceKey, uid: sourceUid } = opened.source;
    const signal = AbortSignal.any([request.signal, abort.signal]);
    const reading = { ...request, signal };
    await collectBackup(opened, scan, { ...into, sourceKey, sourceUid }, reading).catch((error) => {
      stop(error);
    });
    return await committed.promise;
  } finally {
    await transport.close();
  }
}
