import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { FanotifySource } from '../../libs/watch/fanotify/fanotify-source.ts';
import { InotifySource } from '../../libs/watch/inotify/inotify-source.ts';
import { PollSource } from '../../libs/watch/poll/poll-source.ts';
import type { EventSource, WatchOptions } from '../../libs/watch/port.ts';

/** `node test/bench/watch.ts inotify|fanotify|poll [DIRECTORIES] [FILES]`: what it costs to watch a tree. */
const [kind = 'inotify', directories = '30000', files = '250000'] = process.argv.slice(2);
const IDLE_MS = 20_000;

const STARTS: Record<string, (options: WatchOptions) => Promise<EventSource>> = {
  inotify: (options) => InotifySource.start(options),
  fanotify: (options) => FanotifySource.start(options),
  poll: (options) => PollSource.start({ ...options, intervalMs: 3_600_000, now: Date.now }),
};

const cpuMs = (): number => {
  const { user, system } = process.cpuUsage();
  return Math.round((user + system) / 1000);
};
const rssMb = (): number => Math.round(process.memoryUsage.rss() / 2 ** 20);

const root = mkdtempSync(join(tmpdir(), 'watch-bench-'));
try {
  const paths = Array.from({ length: Number(directories) }, (_, i) =>
    join(root, `d${i % 30}`, `e${i % 1000}`, `directory-${i}`),
  );
  for (const path of paths) mkdirSync(path, { recursive: true });
  for (let i = 0; i < Number(files); i++) writeFileSync(join(paths[i % paths.length]!, `file-${i}`), '');
  globalThis.gc?.();
  const before = { cpu: cpuMs(), rss: rssMb(), at: performance.now() };
  const rootFd = openSync(root, 'r');
  const source = await STARTS[kind]!({ rootFd, rootPath: Buffer.from(root) });
  closeSync(rootFd);
  const start = { ms: Math.round(performance.now() - before.at), cpu: cpuMs() - before.cpu };
  await wait(2000);
  globalThis.gc?.();
  const rss = { before: before.rss, after: rssMb() };
  const idle = cpuMs();
  await wait(IDLE_MS);
  const idleCpu = cpuMs() - idle;
  let latencyMs: number | undefined;
  if (kind !== 'poll') {
    const next = source.next();
    const at = performance.now();
    writeFileSync(join(paths[7]!, 'changed'), '');
    await next;
    latencyMs = Number((performance.now() - at).toFixed(1));
  }
  process.stdout.write(
    `${JSON.stringify({ kind, start, rss, idleCpuMs: idleCpu, idleMs: IDLE_MS, latencyMs })}\n`,
  );
  await source.close();
} finally {
  rmSync(root, { recursive: true });
}
