import { TmError } from '../model/errors.ts';
import { check, close, fstat, O_CLOEXEC, O_DIRECTORY, O_RDONLY, open, Stat } from '../posix/index.ts';
import type { OpenedBackup } from '../registry/port.ts';
import {
  checkRoot,
  ExcludeRules,
  openState,
  rebuildState,
  Scan,
  type StateIdentity,
  type StateReader,
  StateWriter,
  topLevelNames,
} from '../scan/index.ts';
import type { BackupRequest } from './backup.ts';
import type { Engine } from './engine.ts';
import { ownFolders } from './own-folders.ts';

/** Times younger than this are not trusted: the coarsest clock tick of kernels in use. */
export const CLOCK_GRANULARITY_NS = 10_000_000n;

/** A scan that is ready to be pulled, with the state that it compares with and the one that it writes. */
export interface OpenScan {
  readonly scan: Scan;
  readonly state: StateWriter;
  readonly rootDev: bigint;
  readonly startedAtNs: bigint;
  /** Makes the new state whole before the seal goes out, so that a crash after the commit does not lose it. */
  finishState(opened: OpenedBackup, stateDigest: Buffer): void;
  close(): void;
}

/** State as of the base: from the agent's file, else rebuilt from the registry. */
async function stateOfBase(
  engine: Engine,
  { backup, source, baseDigest }: OpenedBackup,
): Promise<StateReader | undefined> {
  if (backup.baseSeq === 0) return undefined;
  const base = (await engine.registry.backups.list({ sourceId: source.id, all: true })).find(
    (one) => one.seq === backup.baseSeq,
  );
  if (!base) throw new TmError('TM1303', `backup ${backup.baseSeq} is not in the registry`);
  const identity: StateIdentity = {
    sourceUid: source.uid,
    seq: base.seq,
    epoch: base.epoch,
    stateDigest: baseDigest,
  };
  const path = engine.home.stateFile(source.uid);
  const state =
    openState(path, identity) ??
    (await rebuildState(path, identity, engine.registry.entries.list(source.id, base.seq)));
  if (!state) throw new TmError('TM1503', `the registry's entries of ${base.label} do not add up`);
  return state;
}

export async function openScan(
  engine: Engine,
  opened: OpenedBackup,
  root: Buffer,
  request: BackupRequest,
): Promise<OpenScan> {
  const startedAtNs = BigInt(Date.now()) * 1_000_000n;
  const rootFd = openRoot(root);
  const previous = await stateOfBase(engine, opened);
  try {
    if (
      previous &&
      !request.acceptRoot &&
      checkRoot(rootFd, opened.source.rootHint, topLevelNames(previous)) !== 'ok'
    ) {
      throw new TmError('TM1105', root.toString(), { path: root.toString() });
    }
    const stat = new Stat();
    check(fstat(rootFd, stat), 'statx');
    const { source, backup } = opened;
    const state = new StateWriter(engine.home.stateFile(source.uid), startedAtNs);
    const scan = new Scan({
      rootFd,
      rootPath: root,
      state: previous,
      stateWriter: state,
      readAll: backup.kind === 'full',
      excludes: new ExcludeRules(request.excludes),
      oneFileSystem: request.oneFileSystem,
      skip: ownFolders(engine),
      startedAt: startedAtNs,
      clockGranularityNs: Number(CLOCK_GRANULARITY_NS),
    });
    return {
      scan,
      state,
      rootDev: stat.dev,
      startedAtNs,
      finishState({ backup: { seq, epoch } }, stateDigest) {
        state.finish({ sourceUid: source.uid, seq, epoch, stateDigest });
      },
      close() {
        scan.close();
        previous?.close();
        close(rootFd);
      },
    };
  } catch (error) {
    previous?.close();
    close(rootFd);
    throw error;
  }
}

function openRoot(root: Buffer): number {
  try {
    return open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  } catch (error) {
    throw new TmError('TM1102', `${root} (${(error as NodeJS.ErrnoException).code})`, {
      path: root.toString(),
      cause: error,
    });
  }
}
