import type { PoolSupplier } from '../restore/block-supplier.ts';
import type { FrameKeys } from '../restore/frame-reader.ts';
import { InlinePool, type TaskPool, ThreadPool } from '../restore/thread-pool.ts';
import { PackCheck } from './pack-check.ts';
import type { KnownPack } from './pack-list.ts';
import type { PackResult, PackTask } from './pack-task.ts';

const SCRIPT = new URL(
  import.meta.url.endsWith('.ts') ? './verify-worker.ts' : './verify-worker.js',
  import.meta.url,
);

export type PackPool = TaskPool<PackTask, PackResult>;

/** Threads where data is read; indexes alone need none. `threads`: 0 for this one. */
export function packPool(
  { domainId, dedupKey }: FrameKeys,
  supplier: PoolSupplier,
  threads: number,
): PackPool {
  const setup: FrameKeys = { domainId, dedupKey };
  if (threads > 0) return new ThreadPool(SCRIPT, setup, threads, supplier);
  const check = new PackCheck(setup, supplier);
  return new InlinePool((task) => check.run(task));
}

/** A random part of the packs, at least one where a part is asked for; all in the order given. */
export function choosePacks<P>(packs: readonly P[], part: number, random: () => number): Set<P> {
  const wanted = Math.min(packs.length, Math.ceil(packs.length * part));
  const all = [...packs];
  for (let i = 0; i < wanted; i++) {
    const other = i + Math.floor(random() * (all.length - i));
    [all[i], all[other]] = [all[other]!, all[i]!];
  }
  return new Set(all.slice(0, wanted));
}

/** Checks packs, of those that are chosen all bytes. Throws the first failure that is no damage, once all have ended. */
export async function checkPacks(
  pool: PackPool,
  packs: Iterable<KnownPack>,
  chosen: ReadonlySet<KnownPack>,
  onResult: (pack: KnownPack, wasRead: boolean, result: PackResult) => Promise<void>,
): Promise<void> {
  const running = new Set<Promise<void>>();
  const failures: unknown[] = [];
  try {
    for (const pack of packs) {
      await pool.ready();
      if (failures.length > 0) break;
      const readData = chosen.has(pack);
      const task = pool
        .run({ pack: Buffer.from(pack.id), size: pack.size, readData })
        .then((result) => onResult(pack, readData, result))
        .catch((error) => void failures.push(error))
        .finally(() => running.delete(task));
      running.add(task);
    }
  } finally {
    await Promise.all(running);
  }
  if (failures.length > 0) throw failures[0];
}
