import { workerData } from 'node:worker_threads';
import type { FrameKeys } from '../restore/frame-reader.ts';
import { serveThread } from '../restore/serve-thread.ts';
import { PackCheck } from './pack-check.ts';
import type { PackResult, PackTask } from './pack-task.ts';

/** A thread that checks packs. */
serveThread<PackTask, PackResult>((supplier) => {
  const check = new PackCheck(workerData as FrameKeys, supplier);
  return (task) => check.run(task);
});
