import type { BackupInfo } from '../model/backup.ts';
import { toText } from '../model/byte-text.ts';
import { TmError } from '../model/errors.ts';
import { bytesToDisplay } from '../model/tree-path.ts';
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
import { damagedEntries } from './damaged-entries.ts';
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
  /** What will have to be read, as far as it is known before the walk: a full reads as much as the last backup holds. */
  readonly expectedBytes: number | undefined;
  /** Makes the new state whole before the seal goes out, so that a crash after the commit does not lose it. */
  finishState(opened: OpenedBackup, stateDigest: Buffer): void;
  close(): void;
}

/** State as of the base: from the agent's file, else rebuilt from the registry; and the base itself. */
async function stateOfBase(
  engine: Engine,
  { backup, source, baseDigest }: OpenedBackup,
): Promise<{ base?: BackupInfo; previous?: StateReader }> {
  if (backup.baseSeq === 0) return {};
  const base = await findBase(engine, source.id, backup.baseSeq);
  const identity = stateIdentity(source.uid, base, baseDigest);
  const path = engine.home.stateFile(source.uid);
  const previous =
    openState(path, identity) ??
    (await rebuildState(path, identity, engine.registry.entries.list(source.id, base.seq)));
  if (!previous) throw new TmError('TM1503', `the registry's entries of ${base.label} do not add up`);
  return { base, previous };
}

export async function findBase(engine: Engine, sourceId: number, seq: number): Promise<BackupInfo> {
  const base = await engine.registry.backups.at(sourceId, seq);
  if (!base) throw new TmError('TM1303', `backup ${seq} is not in the registry`);
  return base;
}

export const stateIdentity = (
  sourceUid: string,
  { seq, epoch }: BackupInfo,
  stateDigest: Buffer,
): StateIdentity => ({ sourceUid, seq, epoch, stateDigest });

/** Throws TM1105 where the root looks emptied or replaced. */
export function checkRootIsSame(
  rootFd: number,
  root: Buffer,
  rootHint: string | undefined,
  previous: StateReader,
): void {
  if (checkRoot(rootFd, rootHint, topLevelNames(previous)) === 'ok') return;
  throw new TmError('TM1105', bytesToDisplay(root), { path: toText(root) });
}

export async function openScan(
  engine: Engine,
  opened: OpenedBackup,
  root: Buffer,
  request: BackupRequest,
): Promise<OpenScan> {
  const startedAtNs = BigInt(Date.now()) * 1_000_000n;
  const rootFd = openRoot(root);
  const { base, previous } = await stateOfBase(engine, opened);
  try {
    const damaged = base && (await damagedEntries(engine.registry, opened.source, base.seq));
    if (previous && !request.acceptRoot) checkRootIsSame(rootFd, root, opened.source.rootHint, previous);
    const stat = new Stat();
    check(fstat(rootFd, stat), 'statx');
    const { source, backup } = opened;
    const state = new StateWriter(engine.home.stateFile(source.uid), startedAtNs);
    const scan = new Scan({
      rootFd,
      rootPath: root,
      state: previous,
      stateWriter: state,
      readAll: backup.kind === 'full' || damaged === 'too many',
      reread: damaged === 'too many' ? undefined : damaged,
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
      expectedBytes: backup.kind === 'full' ? base?.counts?.bytes : undefined,
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

export function openRoot(root: Buffer): number {
  try {
    return open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new TmError('TM1102', `${bytesToDisplay(root)} (${code})`, { path: toText(root), cause });
  }
}
