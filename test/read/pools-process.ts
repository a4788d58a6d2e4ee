import { setTimeout as sleep } from 'node:timers/promises';
import { ThreadPool } from '../../libs/restore/thread-pool.ts';

/** Makes pools and closes each a little later in its start than the one before. Usage: pools-process.ts COUNT */
const count = Number(process.argv[2]);
const script = new URL('../../libs/verify/verify-worker.ts', import.meta.url);
const nothing = () => Promise.reject(new Error('nothing is asked for'));
const supplier = { locate: nothing, read: nothing, key: nothing, release() {}, count() {} };
const setup = { domainId: 'd', dedupKey: Buffer.alloc(32) };
for (let i = 0; i < count; i++) {
  const pool = new ThreadPool(script, setup, 2, supplier);
  await sleep((i * 130) / count);
  await pool.close();
}
process.stdout.write(`${count} pools\n`);
