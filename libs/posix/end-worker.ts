import type { Worker } from 'node:worker_threads';

/** Milliseconds that a worker has to end the one call that it is in. */
const STUCK_MS = 4000;

/**
 * Ends a worker that uses system calls: it is told to (`{ type: 'close' }`), and made to only when it is stuck. A thread
 * that is ended from outside while it declares its calls takes the whole process along.
 */
export async function endWorker(worker: Worker): Promise<void> {
  if (worker.threadId === -1) return; // it has ended
  const ended = new Promise((resolve) => worker.once('exit', resolve));
  worker.postMessage({ type: 'close' });
  const stuck = setTimeout(() => void worker.terminate(), STUCK_MS);
  await ended;
  clearTimeout(stuck);
}
