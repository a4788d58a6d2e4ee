import { createRequire } from 'node:module';

/** The parts of kafkajs' queue of requests to one broker that matter here. */
interface RequestQueue {
  readonly pending: readonly unknown[];
  /** Milliseconds since 1970, in the past mostly. */
  readonly throttledUntil: number;
  throttleCheckTimeoutId: NodeJS.Timeout | null;
  checkPendingRequests(): void;
}

/** A request waits for others to end, which wakes the queue too: looking in between is for throttled ones. */
const CHECK_MS = 10;

/**
 * kafkajs 2.2.4 arms a timer after every answer, also when nothing waits, with a delay in the distant past: Node 24
 * takes that as one millisecond, for ever, for each connection. This one sleeps when nothing waits.
 */
function scheduleCheckPendingRequests(this: RequestQueue): void {
  if (this.pending.length === 0 || this.throttleCheckTimeoutId) return;
  const wait = Math.max(this.throttledUntil - Date.now(), CHECK_MS);
  this.throttleCheckTimeoutId = setTimeout(() => {
    this.throttleCheckTimeoutId = null;
    this.checkPendingRequests();
  }, wait);
}

/** Of the whole process; before the first connection. */
export function calmRequestQueues(): void {
  const queue = createRequire(import.meta.url)('kafkajs/src/network/requestQueue') as { prototype: object };
  Object.assign(queue.prototype, { scheduleCheckPendingRequests });
}
