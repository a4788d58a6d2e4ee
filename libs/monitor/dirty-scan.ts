import { setImmediate } from 'node:timers/promises';
import {
  CLOCK_GRANULARITY_NS,
  type OpenScan,
  openRoot,
  type ScanBase,
  type ScanRequest,
} from '../agent/open-scan.ts';
import { TmError } from '../model/errors.ts';
import { check, close, fstat, Stat } from '../posix/index.ts';
import { DirtyScan, ExcludeRules, type KnownState } from '../scan/index.ts';
import type { Dirty } from './dirty.ts';
import { MovedEntries, type MovedStates } from './moved-entries.ts';

export interface DirtyScanRequest
  extends Pick<ScanRequest, 'root' | 'rootHint' | 'excludes' | 'oneFileSystem' | 'acceptRoot' | 'skip'> {
  /** As of the base. */
  readonly damaged?: ScanBase['damaged'];
}

/** A scan of dirty paths. Its state is `known`, changed in place: it stays the caller's, and open. */
export interface OpenDirtyScan extends OpenScan {
  /**
   * Whether there is anything to back up: to be asked before a backup is opened. Throws TM1508 at the signal. Where there is not, `state.commit()`
   * keeps what was learnt in passing.
   */
  differs(signal?: AbortSignal): Promise<boolean>;
}

/**
 * A look at what is dirty, in place of `openScan`; `known` has to be as of the base, which `moved` has the records of.
 * Throws TM1102, and TM1012 where a look at the whole tree is needed.
 */
export function openDirtyScan(
  known: KnownState,
  dirty: Dirty,
  request: DirtyScanRequest,
  moved: MovedStates,
): OpenDirtyScan {
  const { root, damaged } = request;
  if (damaged === 'too many') throw new TmError('TM1012', 'too much of the last backup is damaged');
  const startedAtNs = BigInt(Date.now()) * 1_000_000n;
  const rootFd = openRoot(root);
  try {
    const stat = new Stat();
    check(fstat(rootFd, stat), 'statx');
    const scan = new DirtyScan({
      ...request,
      rootFd,
      rootPath: root,
      known,
      dirty,
      reread: damaged,
      excludes: new ExcludeRules(request.excludes),
      startedAt: startedAtNs,
      clockGranularityNs: Number(CLOCK_GRANULARITY_NS),
    });
    return {
      scan,
      state: scan.changes,
      rootDev: stat.dev,
      startedAtNs,
      expectedBytes: undefined,
      knownEntries: () => new MovedEntries(moved),
      async differs(signal) {
        return scan.differs(async () => {
          if (signal?.aborted) throw new TmError('TM1508');
          await setImmediate();
        });
      },
      commit: () => scan.changes.commit(),
      close() {
        scan.close();
        close(rootFd);
      },
    };
  } catch (error) {
    close(rootFd);
    throw error;
  }
}
