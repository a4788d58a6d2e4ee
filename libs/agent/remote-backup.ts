import { setTimeout as sleep } from 'node:timers/promises';
import type { BlockIntake } from '../blocks/intake.ts';
import type { DomainKeys } from '../blocks/keys.ts';
import type { CollectProblem, CollectProgress } from '../collect/collector.ts';
import type { Resumed } from '../collect/known-entries.ts';
import type { WarmWorkers } from '../collect/warm-workers.ts';
import type { KeyRange } from '../commit/data-key.ts';
import { backupRoutes, type OpenReply } from '../contracts/api/control.ts';
import type { BackupView } from '../contracts/api/control-views.ts';
import { bytesOfJson } from '../contracts/api/wire.ts';
import type { HttpClient } from '../http/client.ts';
import { pagesOf, readAhead } from '../http/pages.ts';
import type { Compression } from '../model/compression.ts';
import { EntryHasher } from '../model/digests.ts';
import { ERRORS, type ErrorCode, TmError } from '../model/errors.ts';
import type { BackupKind } from '../model/label.ts';
import { bytesToJson, fromSlashes, type TreePath } from '../model/tree-path.ts';
import type { BaseEntry, EntrySet } from '../scan/index.ts';
import type { Transport } from '../transport/port.ts';
import { backupOfView } from './backup-view.ts';
import { collectBackup } from './collect-backup.ts';
import type { FolderIdentity } from './folder-identity.ts';
import { type OpenScan, openScan, type ScanBase } from './open-scan.ts';
import { recordPages } from './record-pages.ts';

/** Damaged entries that are remembered one by one; with more of them everything is read. */
const MAX_DAMAGED = 100_000;
/** Seconds that one question for a backup's end waits, and milliseconds in which the server may be away meanwhile. */
const WAIT_SECONDS = 25;
const PATIENCE = 600_000;
/** Milliseconds that ending a backup may take, also where the server hangs: an interrupt is answered within ten seconds. */
const GIVE_UP_MS = 4000;

export interface RemoteBackupRequest {
  /** Canonical, absolute. */
  readonly root: Buffer;
  readonly kind: BackupKind | undefined;
  readonly tags: Readonly<Record<string, string>>;
  readonly excludes: readonly string[];
  /** Instead of `excludes`: what is known only once the backup is opened. */
  readonly excludesOf?: ((opened: OpenReply) => readonly string[]) | undefined;
  readonly oneFileSystem: boolean;
  readonly acceptRoot: boolean;
  readonly threads: number;
  /** Of a watched source: reasons of the gaps that are open, sorted. */
  readonly gaps?: readonly string[] | undefined;
  readonly compression?: Compression | undefined;
  readonly skip: readonly FolderIdentity[];
  /** Instead of a look at the whole tree. Throws where the base is not the one that it goes on from. */
  readonly scan?: ((opened: OpenReply) => OpenScan) | undefined;
  readonly warm?: WarmWorkers | undefined;
  readonly onOpened?: (opened: OpenReply) => void;
  readonly onProblem: (problem: CollectProblem) => void;
  readonly onProgress: (progress: CollectProgress) => void;
  readonly onResumed?: (resumed: Resumed) => void;
  readonly signal: AbortSignal;
}

/** Where a backup's blocks and messages go; made for one backup. */
export interface Outlets {
  readonly intake: BlockIntake;
  readonly transport: Pick<Transport, 'publish'>;
  close(): Promise<void>;
}

export interface RemoteBackupDeps {
  readonly control: HttpClient;
  readonly domain: DomainKeys;
  readonly keyRange: () => Promise<KeyRange>;
  readonly stateFile: (sourceUid: string) => string;
  readonly outlets: (opened: OpenReply) => Promise<Outlets>;
}

/**
 * One backup against services: opens the slot, sends blocks to the writers and change events to the calculators, and
 * waits for the commit. The agent's own state moves only with it.
 */
export async function remoteBackup(
  deps: RemoteBackupDeps,
  request: RemoteBackupRequest,
): Promise<BackupView> {
  const { control } = deps;
  const { root, kind, tags, signal } = request;
  const body = { root: bytesToJson(root), tags, ...(kind && { kind }) };
  const opened = await control.call(backupRoutes.open, { body }, { signal });
  request.onOpened?.(opened);
  const lease = new Lease(control, opened);
  let scan: OpenScan | undefined;
  try {
    const stop = AbortSignal.any([signal, lease.lost]);
    scan = request.scan?.(opened) ?? (await openWholeScan(deps, opened, request, stop));
    await collect(deps, opened, scan, { ...request, signal: stop }, signal).catch((error) => {
      throw lease.lost.aborted && !signal.aborted ? lease.lost.reason : error;
    });
    // The slot was needed until here: that it is gone may mean that the backup was committed.
    const ended = await endOf(control, opened.backup.id, signal);
    scan.commit();
    return ended;
  } catch (error) {
    await giveUp(control, opened.backup.id, error, scan);
    throw error;
  } finally {
    lease.end();
    scan?.close();
  }
}

async function openWholeScan(
  deps: RemoteBackupDeps,
  opened: OpenReply,
  request: RemoteBackupRequest,
  stop: AbortSignal,
): Promise<OpenScan> {
  return openScan(baseOf(deps, opened, await damagedOf(deps.control, opened, stop)), {
    ...request,
    excludes: request.excludesOf?.(opened) ?? request.excludes,
    kind: opened.backup.kind,
    rootHint: opened.source.rootHint ?? undefined,
    stateFile: deps.stateFile(opened.source.uid),
  });
}

async function collect(
  deps: RemoteBackupDeps,
  opened: OpenReply,
  scan: OpenScan,
  request: RemoteBackupRequest,
  interrupt: AbortSignal,
): Promise<void> {
  const outlets = await deps.outlets(opened);
  try {
    const { domain, keyRange } = deps;
    const sourceKey = Buffer.from(opened.source.key, 'base64');
    const into = {
      intake: outlets.intake,
      transport: unlessInterrupted(outlets.transport, interrupt),
      domain,
      keyRange,
      sourceKey,
      sourceUid: opened.source.uid,
    };
    const backup = backupOfView(opened.backup, opened.source.number);
    const baseDigest = opened.base ? Buffer.from(opened.base.stateDigest, 'base64') : Buffer.alloc(32);
    await collectBackup({ backup, baseDigest, shards: opened.shards }, scan, into, request);
  } finally {
    await outlets.close();
  }
}

/**
 * Who stops does not wait for a Kafka that hangs; what is on its way may still arrive. Not so for a slot that is lost:
 * the seal may have had the backup committed by then.
 */
function unlessInterrupted(transport: Outlets['transport'], signal: AbortSignal): Outlets['transport'] {
  return {
    publish: (topic, messages) =>
      new Promise((resolve, reject) => {
        const onAbort = () => reject(new TmError('TM1508'));
        if (signal.aborted) return onAbort();
        signal.addEventListener('abort', onAbort, { once: true });
        transport
          .publish(topic, messages)
          .then(resolve, reject)
          .finally(() => signal.removeEventListener('abort', onAbort));
      }),
  };
}

/** Keeps the slot: renews the lease until the backup is sealed and beyond; `lost` says why it could not be kept. */
class Lease {
  readonly #lost = new AbortController();
  readonly #ended = new AbortController();

  constructor(control: HttpClient, { backup: { id }, lease }: OpenReply) {
    void this.#renew(control, id, lease);
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  end(): void {
    this.#ended.abort();
  }

  async #renew(
    control: HttpClient,
    id: string,
    { seconds, renewSeconds }: OpenReply['lease'],
  ): Promise<void> {
    const { signal } = this.#ended;
    let until = performance.now() + seconds * 1000;
    for (;;) {
      await sleep(renewSeconds * 1000, undefined, { signal, ref: false }).catch(() => {});
      if (signal.aborted) return;
      try {
        const deadline = Math.max(0, until - performance.now());
        const asked = performance.now();
        const reply = await control.call(
          backupRoutes.heartbeat,
          { params: { id }, body: {} },
          { signal, deadline },
        );
        until = asked + reply.leaseSeconds * 1000;
      } catch (error) {
        if (signal.aborted) return;
        const isOver = !(error instanceof TmError && error.spec.retry && error.code !== 'TM1502');
        if (isOver || performance.now() >= until) return this.#lost.abort(error);
      }
    }
  }
}

/** The backup as it ended: throws what it failed with. */
async function endOf(control: HttpClient, id: string, signal: AbortSignal): Promise<BackupView> {
  for (;;) {
    const input = { params: { id }, query: { wait: WAIT_SECONDS } };
    const timeout = (WAIT_SECONDS + 15) * 1000;
    const { backup } = await control.call(backupRoutes.getBackup, input, {
      signal,
      timeout,
      deadline: PATIENCE,
    });
    if (backup.state === 'committed' || backup.state === 'expired') return backup;
    if (backup.state === 'failed' || backup.state === 'fenced') throw failureOf(backup);
  }
}

function failureOf({ failure, label }: BackupView): TmError {
  const code = failure !== null && failure in ERRORS ? (failure as ErrorCode) : 'TM1502';
  return new TmError(code, `backup ${label}`);
}

/** Ends the backup as failed unless it is past that; what became of it decides which state file is the true one. */
async function giveUp(
  control: HttpClient,
  id: string,
  error: unknown,
  scan: OpenScan | undefined,
): Promise<void> {
  const code = error instanceof TmError ? error.code : 'TM1099';
  try {
    const { backup } = await control.call(
      backupRoutes.abort,
      { params: { id }, body: { code } },
      { signal: AbortSignal.timeout(GIVE_UP_MS) },
    );
    if (backup.state === 'committed') scan?.commit();
    else if (backup.state === 'failed') scan?.state.abandon();
    else scan?.state.leave();
  } catch {
    scan?.state.leave();
  }
}

function baseOf(
  { control }: RemoteBackupDeps,
  { base, source }: OpenReply,
  damaged: ScanBase['damaged'],
): ScanBase | undefined {
  if (!base) return undefined;
  const { id, seq, epoch, label, counts } = base.backup;
  return {
    identity: { sourceUid: source.uid, seq, epoch, stateDigest: Buffer.from(base.stateDigest, 'base64') },
    label,
    bytes: counts?.bytes,
    damaged,
    entries: () => hashedPages(control, id, Buffer.from(source.key, 'base64')),
  };
}

/** A backup's entries, those within a path or all; `key`: of the source's entry hashes. */
export async function* hashedPages(
  control: HttpClient,
  backupId: string,
  key: Buffer,
  within?: TreePath,
): AsyncGenerator<BaseEntry[]> {
  const hasher = new EntryHasher(key);
  for await (const page of readAhead(recordPages(control, backupId, { within }), 1))
    yield page.map((record) => ({ ...record, hash: hasher.hash(record.dir, record.name, record.state) }));
}

async function damagedOf(
  control: HttpClient,
  { backup: { id }, damaged }: OpenReply,
  signal: AbortSignal,
): Promise<EntrySet | 'too many' | undefined> {
  if (!damaged) return undefined;
  const found = new Set<string>();
  const call = (query: { limit: number }) =>
    control.call(backupRoutes.damaged, { params: { id }, query }, { signal });
  for await (const { paths } of pagesOf(call)) {
    for (const path of paths) found.add(fromSlashes(bytesOfJson(path)).toString('latin1'));
    if (found.size > MAX_DAMAGED) return 'too many';
  }
  return { has: (dir, name) => found.has(pathOf(dir, name)) };
}

/** As in tree paths: NUL between names. */
const pathOf = (dir: Buffer, name: Buffer): string =>
  dir.length === 0 ? name.toString('latin1') : `${dir.toString('latin1')}\0${name.toString('latin1')}`;
