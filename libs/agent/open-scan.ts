import type { KnownEntries } from '../collect/known-entries.ts';
import { dropHints, hintFileOf, ResumeHints } from '../collect/resume-hints.ts';
import { toText } from '../model/byte-text.ts';
import { TmError } from '../model/errors.ts';
import type { BackupKind } from '../model/label.ts';
import { bytesToDisplay } from '../model/tree-path.ts';
import { check, close, fstat, O_CLOEXEC, O_DIRECTORY, O_RDONLY, open, Stat } from '../posix/index.ts';
import {
  type BaseEntry,
  checkRoot,
  type EntrySet,
  ExcludeRules,
  type NewState,
  openState,
  rebuildState,
  Scan,
  type ScanSource,
  type StateIdentity,
  type StateReader,
  StateWriter,
  topLevelNames,
} from '../scan/index.ts';
import type { FolderIdentity } from './folder-identity.ts';

/** Times younger than this are not trusted: the coarsest clock tick of kernels in use. */
export const CLOCK_GRANULARITY_NS = 10_000_000n;

/** The backup that changes are counted from, as the registry knows it. */
export interface ScanBase {
  readonly identity: StateIdentity;
  readonly label: string;
  /** Bytes of all files in it. */
  readonly bytes: number | undefined;
  /** Entries of which the store has lost something: they are read again. */
  readonly damaged: EntrySet | 'too many' | undefined;
  /** All of its entries, in order, the root first; for an agent whose state file is lost. */
  readonly entries: () => AsyncIterable<readonly BaseEntry[]>;
}

export interface ScanRequest {
  readonly root: Buffer;
  readonly kind: BackupKind;
  /** What the root looked like at the base. */
  readonly rootHint: string | undefined;
  readonly excludes: readonly string[];
  readonly oneFileSystem: boolean;
  readonly acceptRoot: boolean;
  /** The agent's last known state of the source. */
  readonly stateFile: string;
  /** Never entered: home, store and registry. */
  readonly skip: readonly FolderIdentity[];
}

/** A scan that is ready to be pulled, with the state that it compares with and the one that it writes. */
export interface OpenScan {
  readonly scan: ScanSource;
  readonly state: NewState;
  readonly rootDev: bigint;
  readonly startedAtNs: bigint;
  /** What will have to be read, as far as it is known before the walk: a full reads as much as the last backup holds. */
  readonly expectedBytes: number | undefined;
  /** What need not be read. `identity`: 32 bytes, equal where the same backup is tried again. */
  knownEntries(identity: Buffer): KnownEntries;
  /** The backup was committed: its state is the last known one, and there is nothing to resume. */
  commit(): void;
  close(): void;
}

/** State as of the base: from the agent's file, else made anew from what the registry has. */
async function stateOf(
  stateFile: string,
  { identity, entries, label }: ScanBase,
): Promise<StateReader | undefined> {
  const state = openState(stateFile, identity) ?? (await rebuildState(stateFile, identity, entries()));
  if (!state) throw new TmError('TM1503', `the registry's entries of ${label} do not add up`);
  return state;
}

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

/** `base`: undefined for a source's first backup. Throws TM1102, TM1105, TM1503. */
export async function openScan(base: ScanBase | undefined, request: ScanRequest): Promise<OpenScan> {
  const startedAtNs = BigInt(Date.now()) * 1_000_000n;
  const { root, kind, stateFile } = request;
  const rootFd = openRoot(root);
  let previous: StateReader | undefined;
  try {
    previous = base && (await stateOf(stateFile, base));
    if (previous && !request.acceptRoot) checkRootIsSame(rootFd, root, request.rootHint, previous);
    const stat = new Stat();
    check(fstat(rootFd, stat), 'statx');
    const state = new StateWriter(stateFile, startedAtNs);
    const damaged = base?.damaged;
    const scan = new Scan({
      rootFd,
      rootPath: root,
      state: previous,
      stateWriter: state,
      readAll: kind === 'full' || damaged === 'too many',
      reread: damaged === 'too many' ? undefined : damaged,
      excludes: new ExcludeRules(request.excludes),
      oneFileSystem: request.oneFileSystem,
      skip: request.skip,
      startedAt: startedAtNs,
      clockGranularityNs: Number(CLOCK_GRANULARITY_NS),
    });
    return {
      scan,
      state,
      rootDev: stat.dev,
      startedAtNs,
      expectedBytes: kind === 'full' ? base?.bytes : undefined,
      knownEntries: (identity) =>
        new ResumeHints({ path: hintFileOf(stateFile), identity, startedAt: Date.now() }),
      commit() {
        state.commit();
        dropHints(stateFile);
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
