import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { checkedRoot } from '../agent/checked-root.ts';
import { identify } from '../agent/folder-identity.ts';
import { CLOCK_GRANULARITY_NS, checkRootIsSame, openRoot } from '../agent/open-scan.ts';
import { gearSeedOf } from '../blocks/keys.ts';
import { sameContent } from '../calculate/delta-calculator.ts';
import { UnstoredReader } from '../collect/unstored-reader.ts';
import type { BackupCounts, BackupInfo } from '../model/backup.ts';
import { decodeState, EntryType } from '../model/entry.ts';
import { isNote, TmError } from '../model/errors.ts';
import * as posix from '../posix/index.ts';
import type { EntryVersion, SourceRow } from '../registry/port.ts';
import {
  ExcludeRules,
  LeftOut,
  peekState,
  rebuildState,
  Scan,
  type ScanEntry,
  type StateReader,
  StateWriter,
  type WorkBatch,
  type WorkItem,
} from '../scan/index.ts';
import type { BackupRequest } from './backup.ts';
import type { Engine } from './engine.ts';
import { ownFolders, ownPaths } from './own-folders.ts';
import { findBase, stateIdentity } from './scan-base.ts';

export type ChangeOp = 'added' | 'changed' | 'metadata' | 'deleted';

type DryRunRequest = Omit<BackupRequest, 'tags' | 'threads' | 'onProgress' | 'onResumed'> & {
  readonly onChange: (op: ChangeOp, dir: Buffer, name: Buffer) => void;
};

export interface DryRunResult {
  readonly kind: 'full' | 'differential';
  readonly baseline: string | null;
  readonly counts: Omit<BackupCounts, 'newBytes' | 'storedBytes'>;
}

interface Base {
  readonly source: SourceRow;
  readonly backup: BackupInfo;
}

/**
 * What a backup of the folder would record now. Nothing is written to store, registry or agent state. Content is read
 * only where nothing else tells `changed` from `metadata` or from no change at all. Without an engine nothing was ever
 * backed up, and everything is added. `own`: home and store where there is no engine to ask.
 */
export async function dryRun(
  engine: Engine | undefined,
  request: DryRunRequest,
  own: readonly string[],
): Promise<DryRunResult> {
  const root = await checkedRoot(request.dir, engine ? ownPaths(engine) : own);
  const base = engine && (await baseOf(engine, root));
  const hasBaseline = base !== undefined && base.source.baseline > 0;
  const kind = request.kind ?? (hasBaseline ? 'differential' : 'full');
  if (kind === 'differential' && !hasBaseline) {
    throw new TmError('TM1001', 'there is no full backup of this folder yet; leave --differential out');
  }
  const baseline =
    kind === 'full' ? null : await findBase(engine!.registry, base!.source.id, base!.source.baseline);
  const scratch = await mkdtemp(join(engine?.home.spool ?? tmpdir(), 'tidemark-dry-run-'));
  try {
    const counts = await new DryRun(engine, base, request, { root, kind, scratch }).run();
    return { kind, baseline: baseline?.label ?? null, counts };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function baseOf(engine: Engine, root: Buffer): Promise<Base | undefined> {
  const sources = await engine.registry.backups.sources();
  const source = sources.find(
    (one) => one.agentUid === undefined && one.agent === engine.home.agent && one.root.equals(root),
  );
  if (!source || source.head === 0) return undefined;
  return { source, backup: await findBase(engine.registry, source.id, source.head) };
}

class DryRun {
  readonly #engine: Engine | undefined;
  readonly #base: Base | undefined;
  readonly #request: DryRunRequest;
  readonly #place: {
    readonly root: Buffer;
    readonly kind: 'full' | 'differential';
    readonly scratch: string;
  };
  readonly #startedAtNs = BigInt(Date.now()) * 1_000_000n;
  readonly #tally = { added: 0, changed: 0, metadata: 0, deleted: 0 };
  readonly #leftOut = new LeftOut();
  #problems = 0;
  readonly #walked = new posix.Stat();
  #reader: UnstoredReader | undefined;
  #rootDev = 0n;

  constructor(
    engine: Engine | undefined,
    base: Base | undefined,
    request: DryRunRequest,
    place: { root: Buffer; kind: 'full' | 'differential'; scratch: string },
  ) {
    this.#engine = engine;
    this.#base = base;
    this.#request = request;
    this.#place = place;
  }

  async run(): Promise<DryRunResult['counts']> {
    const rootFd = openRoot(this.#place.root);
    const state = await this.#state();
    const stateWriter = new StateWriter(join(this.#place.scratch, 'state'), this.#startedAtNs);
    try {
      if (state && !this.#request.acceptRoot) {
        checkRootIsSame(rootFd, this.#place.root, this.#base!.source.rootHint, state);
      }
      posix.check(posix.fstat(rootFd, this.#walked), 'statx');
      this.#rootDev = this.#walked.dev;
      return await this.#scan(rootFd, state, stateWriter);
    } finally {
      stateWriter.abandon();
      state?.close();
      posix.close(rootFd);
    }
  }

  async #scan(
    rootFd: number,
    state: StateReader | undefined,
    stateWriter: StateWriter,
  ): Promise<DryRunResult['counts']> {
    const skip = [...(this.#engine ? ownFolders(this.#engine) : []), identify(this.#place.scratch)];
    const scan = new Scan({
      rootFd,
      rootPath: this.#place.root,
      state,
      stateWriter,
      readAll: this.#place.kind === 'full',
      excludes: new ExcludeRules(this.#request.excludes),
      oneFileSystem: this.#request.oneFileSystem,
      skip: skip.filter((one) => one !== undefined),
      startedAt: this.#startedAtNs,
      clockGranularityNs: Number(CLOCK_GRANULARITY_NS),
    });
    try {
      await this.#pull(scan);
      return this.#counts(scan);
    } finally {
      scan.close();
    }
  }

  async #pull(scan: Scan): Promise<void> {
    for (let step = scan.next(); step.type !== 'end'; step = scan.next()) {
      if (this.#request.signal.aborted) throw new TmError('TM1508');
      if (step.type === 'work') {
        await this.#batch(step.batch);
        scan.release(step.batch.id);
      } else if (step.type === 'gone') {
        for (const { dir, name } of step.entries) this.#change('deleted', dir, name);
      } else if (step.type === 'kept' || step.type === 'note') {
        for (const entry of step.entries) this.#problem(entry);
      }
      await setImmediate();
    }
  }

  #counts(scan: Scan): DryRunResult['counts'] {
    const { files, directories, others, bytes } = this.#leftOut.from(scan.totals);
    const { added, changed, metadata } = this.#tally;
    const unchanged = files + directories + others - added - changed - metadata;
    return { files, directories, others, bytes, ...this.#tally, unchanged, problems: this.#problems };
  }

  /** As of the base, from the agent's file or anew; its own changes go to the scratch folder. */
  async #state(): Promise<StateReader | undefined> {
    if (!this.#base) return undefined;
    const { source, backup } = this.#base;
    const { home, registry } = this.#engine!;
    const identity = stateIdentity(source.uid, backup, backup.stateDigest!);
    const state =
      peekState(home.stateFile(source.uid), identity, join(this.#place.scratch, 'known')) ??
      (await rebuildState(
        join(this.#place.scratch, 'base'),
        identity,
        registry.entries.list(source.id, backup.seq),
      ));
    if (!state) throw new TmError('TM1503', `the registry's entries of ${backup.label} do not add up`);
    return state;
  }

  async #batch(batch: WorkBatch): Promise<void> {
    for (const { dirFd, dir, items } of batch.groups) {
      const known = items.filter((item) => item.previousHash !== undefined);
      const keys = known.map(({ name }) => ({ dir, name }));
      const found =
        keys.length === 0
          ? []
          : await this.#engine!.registry.entries.lookup(this.#base!.source.id, this.#base!.backup.seq, keys);
      const bases = new Map(known.map((item, i) => [item, found[i]]));
      for (const item of items) await this.#item(dirFd, dir, item, bases.get(item));
    }
  }

  async #item(dirFd: number, dir: Buffer, item: WorkItem, base: EntryVersion | undefined): Promise<void> {
    this.#walked.buffer.set(item.stat);
    try {
      const op = base ? await this.#compare(dirFd, dir, item, base) : this.#openable(dirFd, item, 'added');
      if (op) this.#change(op, dir, item.name);
    } catch (error) {
      if (!(error instanceof posix.PosixError)) throw error;
      const hasVanished = error.errno === posix.ENOENT || error.errno === posix.ESTALE;
      if (hasVanished || !base) this.#leftOut.add(item);
      if (!hasVanished) this.#problem({ dir, name: item.name, code: 1110, message: error.message });
      else if (base) this.#change('deleted', dir, item.name);
    }
  }

  async #compare(
    dirFd: number,
    dir: Buffer,
    item: WorkItem,
    base: EntryVersion,
  ): Promise<ChangeOp | undefined> {
    const before = decodeState(base.state);
    const isFile = this.#walked.type === posix.S_IFREG;
    const wasFile = before.type === EntryType.file;
    if (isFile !== wasFile || (isFile && before.size !== item.size))
      return this.#openable(dirFd, item, 'changed');
    const now = await this.#read(dirFd, dir, item);
    if (now.hash.equals(base.hash)) return undefined;
    return sameContent(before, decodeState(now.state)) ? 'metadata' : 'changed';
  }

  async #read(dirFd: number, dir: Buffer, item: WorkItem) {
    const { domain } = this.#engine!;
    this.#reader ??= new UnstoredReader({
      domainId: domain.id,
      dedupKey: domain.dedupKey,
      digestKey: domain.digestKey,
      gearSeed: gearSeedOf(domain),
      sourceKey: this.#base!.source.key,
      rootDev: this.#rootDev,
      startedAtNs: this.#startedAtNs,
      granularityNs: CLOCK_GRANULARITY_NS,
    });
    const entry = await this.#reader.read(dirFd, dir, item.name, this.#walked);
    if (entry.inconsistent)
      this.#problem({ dir, name: item.name, code: 1111, message: 'it changed while it was read, twice' });
    return entry;
  }

  /** Content that need not be read has to be readable all the same. Throws PosixError. */
  #openable(dirFd: number, { name }: WorkItem, op: ChangeOp): ChangeOp {
    if (this.#walked.type !== posix.S_IFREG) return op;
    const flags = posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_NOCTTY;
    posix.close(posix.check(posix.openat(dirFd, name, flags), 'open'));
    return op;
  }

  #change(op: ChangeOp, dir: Buffer, name: Buffer): void {
    this.#tally[op]++;
    this.#request.onChange(op, dir, name);
  }

  #problem(problem: ScanEntry): void {
    if (!isNote(problem.code)) this.#problems++;
    this.#request.onProblem(problem);
  }
}
