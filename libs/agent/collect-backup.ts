import type { BlockIntake } from '../blocks/intake.ts';
import { type DomainKeys, gearSeedOf } from '../blocks/keys.ts';
import { type CollectDeps, Collector, type OpenedForCollecting } from '../collect/collector.ts';
import type { WorkerSetup } from '../collect/protocol.ts';
import type { KeyRange } from '../commit/data-key.ts';
import type { BackupInfo } from '../model/backup.ts';
import type { Compression } from '../model/compression.ts';
import { KeyedHasher } from '../model/digests.ts';
import type { Transport } from '../transport/port.ts';
import { CLOCK_GRANULARITY_NS, type OpenScan } from './open-scan.ts';

export interface CollectRequest
  extends Pick<CollectDeps, 'onProblem' | 'onProgress' | 'onResumed' | 'gaps' | 'warm' | 'signal'> {
  readonly threads: number;
  /** Default: fast. */
  readonly compression?: Compression | undefined;
}

/** Where a backup's blocks and events go, and the keys to make them with. */
export interface CollectInto {
  readonly intake: BlockIntake;
  readonly transport: Pick<Transport, 'publish'>;
  readonly domain: DomainKeys;
  /** Key of entry hashes. */
  readonly sourceKey: Buffer;
  readonly sourceUid: string;
  /** A range of frame numbers under the process's data key. */
  readonly keyRange: () => Promise<KeyRange>;
}

export interface OpenedToCollect extends OpenedForCollecting {
  readonly backup: OpenedForCollecting['backup'] & Pick<BackupInfo, 'baseSeq'>;
}

/**
 * Equal for two attempts at the same: kind and base, and the keys by which contents and blocks are told. 1 is the
 * version of what hints hold.
 */
function hintIdentity(
  { backup: { kind, baseSeq, epoch }, baseDigest }: OpenedToCollect,
  { domain, sourceKey, sourceUid }: CollectInto,
): Buffer {
  const what = JSON.stringify([1, domain.id, sourceUid, kind, baseSeq, epoch.generation]);
  const bytes = [baseDigest, domain.digestKey, sourceKey, Buffer.from(what)];
  return new KeyedHasher(domain.dedupKey).digest(Buffer.concat(bytes));
}

/**
 * The agent's part of one backup: reads what the scan finds, sends blocks and change events, and seals. The new state
 * is whole before the seal goes out, so that a crash after the commit does not lose it.
 */
export function collectBackup(
  opened: OpenedToCollect,
  { scan, state, ...open }: OpenScan,
  into: CollectInto,
  { threads, compression = 'fast', onProgress, ...request }: CollectRequest,
): Promise<void> {
  const { seq, epoch } = opened.backup;
  return new Collector({
    ...request,
    scan,
    state,
    intake: into.intake,
    transport: into.transport,
    resume: open.knownEntries(hintIdentity(opened, into)),
    workers: () => workerSetups(open, into, workersOf(threads), compression),
    start: { rootDev: open.rootDev, startedAtNs: open.startedAtNs },
    opened,
    now: () => new Date(),
    onProgress: (progress) =>
      onProgress({ ...progress, totalBytes: progress.totalBytes ?? open.expectedBytes }),
    onState: (stateDigest) => state.finish({ sourceUid: into.sourceUid, seq, epoch, stateDigest }),
  }).run();
}

/** Threads of the pool that Node has besides; they compress for the workers. */
const POOL_THREADS = 4;
const workersOf = (threads: number): number => Math.max(Math.ceil(threads / 2), threads - POOL_THREADS);

async function workerSetups(
  { rootDev, startedAtNs }: Pick<OpenScan, 'rootDev' | 'startedAtNs'>,
  { domain, sourceKey, keyRange }: CollectInto,
  count: number,
  compression: Compression,
): Promise<WorkerSetup[]> {
  const setups: WorkerSetup[] = [];
  for (let i = 0; i < count; i++) {
    setups.push({
      domainId: domain.id,
      dedupKey: domain.dedupKey,
      digestKey: domain.digestKey,
      gearSeed: gearSeedOf(domain),
      sourceKey,
      dataKey: await keyRange(),
      compression,
      rootDev,
      startedAtNs,
      granularityNs: CLOCK_GRANULARITY_NS,
    });
  }
  return setups;
}
