import type { RetryPolicy } from './retrying-store.ts';

/** Somebody waits at the command line: hiccups are ridden out, anything longer is said. */
const FOLDER: RetryPolicy = { deadline: 2_000, firstDelay: 50, longestDelay: 500 };
/** A bucket has minutes of 503, and connections that stall for as long as the adapter lets them. */
const BUCKET: RetryPolicy = { deadline: 100_000, firstDelay: 250, longestDelay: 10_000 };

/** How long the store at a URL is tried. A full disk or a missing right is never retried. */
export const retryPolicyOf = (url: string): RetryPolicy => (url.startsWith('gs:') ? BUCKET : FOLDER);
