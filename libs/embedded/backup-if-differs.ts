import { LookedScan } from '../agent/looked-scan.ts';
import { CLOCK_GRANULARITY_NS, type OpenScan, type ScanBase } from '../agent/open-scan.ts';
import { gearSeedOf } from '../blocks/keys.ts';
import { UnstoredReader } from '../collect/unstored-reader.ts';
import type { BackupInfo } from '../model/backup.ts';
import { TmError } from '../model/errors.ts';
import type { SourceHead, SourceRow } from '../registry/port.ts';
import { backupBy, type StagesRequest } from './backup.ts';
import type { Engine } from './engine.ts';

export interface DifferentialRequest extends Omit<StagesRequest, 'kind' | 'tags'> {
  readonly root: Buffer;
  /** As of the base. */
  readonly damaged: ScanBase['damaged'];
}

/** What a differential goes on from: the source's newest backup. */
export type Head = SourceHead & { readonly backup: BackupInfo };

/** The newest backup of a folder; undefined where there is no full yet. */
export async function headOf(engine: Engine, root: Buffer): Promise<Head | undefined> {
  const head = await engine.registry.backups.headOf({ agent: engine.home.agent, root });
  if (!head || head.source.baseline === 0) return undefined;
  const { backup } = head;
  if (!backup) throw new TmError('TM1303', `backup ${head.source.head} is not in the registry`);
  return { ...head, backup };
}

/**
 * A differential of what `scan` finds against the newest backup, or undefined, and nothing of it anywhere, where that is
 * no difference. The scan is closed in any case. `keep`: nothing differs, but the scan has learnt of times that moved.
 */
export async function backupIfDiffers(
  engine: Engine,
  { source, backup }: Head,
  request: DifferentialRequest,
  scan: OpenScan,
  keep: () => void,
): Promise<BackupInfo | undefined> {
  const looked = new LookedScan(scan, {
    lookup: (keys) => engine.registry.entries.lookup(source.id, backup.seq, keys),
    reader: unstoredReader(engine, source, scan),
    damaged: request.damaged,
    signal: request.signal,
  });
  let isOurs = true;
  try {
    if (await looked.differs()) {
      return await backupBy(
        engine,
        source,
        { ...request, kind: 'differential', tags: {} },
        async (opened) => {
          if (opened.backup.baseSeq !== backup.seq)
            throw new TmError('TM1502', 'there is a newer backup by now');
          isOurs = false;
          return { ...scan, scan: looked };
        },
      );
    }
    looked.problems.forEach(request.onProblem);
    keep();
    isOurs = false;
    scan.close();
    return undefined;
  } finally {
    if (isOurs) {
      scan.state.abandon();
      scan.close();
    }
  }
}

function unstoredReader({ domain }: Engine, source: SourceRow, scan: OpenScan): () => UnstoredReader {
  let reader: UnstoredReader | undefined;
  return () =>
    (reader ??= new UnstoredReader({
      domainId: domain.id,
      dedupKey: domain.dedupKey,
      digestKey: domain.digestKey,
      gearSeed: gearSeedOf(domain),
      sourceKey: source.key,
      rootDev: scan.rootDev,
      startedAtNs: scan.startedAtNs,
      granularityNs: CLOCK_GRANULARITY_NS,
    }));
}
