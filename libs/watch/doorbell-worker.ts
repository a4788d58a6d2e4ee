import { parentPort, workerData } from 'node:worker_threads';
import { epollWait } from '../posix/readiness.ts';

/** Blocks until a descriptor is ready and says which; ends when it is `stop`, or when epoll fails. */
const { epoll, stop } = workerData as { epoll: number; stop: number };

parentPort!.postMessage([]);
for (;;) {
  const ready = epollWait(epoll);
  if (typeof ready === 'number' || ready.includes(stop)) break;
  parentPort!.postMessage(ready);
}
