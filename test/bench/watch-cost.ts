import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { stopEmbeddedPostgres } from '../../libs/registry/embedded/index.ts';

/*
 * What `tidemark watch` costs, from the built command: `node test/bench/watch-cost.ts [--files N] [--directories N]
 * [--changes N] [--settled SECONDS] [--idle SECONDS] [--base DIR]`, after `sh tools/build`. CPU is that of the watch's own process with all its threads, by
 * /proc/PID/task/TID/schedstat; Postgres is another process.
 */
const { values } = parseArgs({
  options: {
    files: { type: 'string', default: '250000' },
    directories: { type: 'string', default: '30000' },
    changes: { type: 'string', default: '20' },
    /** What start and reconcile leave behind (compiling, collecting, idle connections) is over by then. */
    settled: { type: 'string', default: '30' },
    idle: { type: 'string', default: '60' },
    base: { type: 'string', default: tmpdir() },
  },
});
const [files, directories, changes] = [values.files, values.directories, values.changes].map(Number) as [
  number,
  number,
  number,
];
const TIDEMARK = join(import.meta.dirname, '../../tidemark');
const [settledMs, idleMs] = [values.settled, values.idle].map((seconds) => Number(seconds) * 1000);

interface Line {
  readonly type: string;
  readonly reason?: string;
  readonly by?: string;
}

class Watch {
  readonly child: ChildProcess;
  readonly #lines: Line[] = [];
  #onLine: () => void = () => {};

  constructor(home: string, tree: string) {
    const env = { ...process.env, TIDEMARK_HOME: home };
    this.child = spawn(TIDEMARK, ['--json', 'watch', tree, '--every', '1s'], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    createInterface({ input: this.child.stdout! }).on('line', (line) => {
      this.#lines.push(JSON.parse(line) as Line);
      this.#onLine();
    });
  }

  async next(fits: (line: Line) => boolean): Promise<Line> {
    for (;;) {
      while (this.#lines.length > 0) {
        const line = this.#lines.shift()!;
        if (fits(line)) return line;
      }
      await new Promise<void>((resolve) => {
        this.#onLine = resolve;
      });
    }
  }

  /** Milliseconds of CPU so far, of all threads that live. */
  get cpuMs(): number {
    const tasks = `/proc/${this.child.pid}/task`;
    const spent = readdirSync(tasks).map((task) => {
      const [ns] = readFileSync(join(tasks, task, 'schedstat'), 'latin1').split(' ');
      return Number(ns) / 1e6;
    });
    return spent.reduce((sum, ms) => sum + ms, 0);
  }

  get rssMb(): number {
    const [, kb] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${this.child.pid}/status`, 'latin1'))!;
    return Number(kb) / 1024;
  }

  async stop(): Promise<void> {
    const ended = once(this.child, 'exit');
    this.child.kill('SIGTERM');
    await ended;
  }
}

function makeTree(root: string): void {
  for (let i = 0; i < directories; i++) {
    const dir = join(root, `d${Math.floor(i / 500)}`, `e${i}`);
    mkdirSync(dir, { recursive: true });
    const end = Math.floor(((i + 1) * files) / directories);
    for (let n = Math.floor((i * files) / directories); n < end; n++)
      writeFileSync(join(dir, `f${n}`), `${n}\n`);
  }
}

const median = (all: readonly number[]): number =>
  [...all].sort((a, b) => a - b)[Math.floor(all.length / 2)]!;
const row = (...cells: (string | number)[]) => process.stdout.write(`| ${cells.join(' | ')} |\n`);

const base = mkdtempSync(join(values.base, 'tidemark-watch-cost-'));
chmodSync(base, 0o711); // Postgres is another user
const [home, tree] = [join(base, 'home'), join(base, 'tree')];
try {
  makeTree(tree);
  const first = new Watch(home, tree);
  await first.next(({ type }) => type === 'watching');
  await sleep(settledMs);
  const afterFull = first.rssMb;
  await first.stop();

  const watch = new Watch(home, tree);
  const { by } = await watch.next(({ type }) => type === 'watching');
  await sleep(settledMs);
  const atStart = watch.rssMb;
  const beforeIdle = watch.cpuMs;
  await sleep(idleMs);
  const idle = watch.cpuMs - beforeIdle;

  const latencies: number[] = [];
  const costs: number[] = [];
  for (let i = 0; i < changes; i++) {
    const before = watch.cpuMs;
    const began = performance.now();
    appendFileSync(join(tree, 'd0', 'e7', 'changed'), `${i}\n`);
    await watch.next(({ type, reason }) => type === 'commit' && reason === 'changes');
    latencies.push(performance.now() - began);
    await sleep(1500);
    costs.push(watch.cpuMs - before);
  }
  row('what', 'figure');
  row('---', '---');
  row('tree', `${files} files in ${directories} directories, watched by ${by}`);
  row(
    'RSS after the first full, after a restart, at the end',
    [afterFull, atStart, watch.rssMb].map((mb) => `${Math.round(mb)} MB`).join(', '),
  );
  row(`CPU of ${values.idle} idle seconds`, `${Math.round(idle)} ms`);
  row(
    'from write to commit line, median and longest',
    `${Math.round(median(latencies))}, ${Math.round(Math.max(...latencies))} ms`,
  );
  row(
    'CPU of a commit of one changed file: the first, then lowest, median and longest',
    [costs[0]!, Math.min(...costs.slice(1)), median(costs.slice(1)), Math.max(...costs.slice(1))]
      .map((ms) => `${ms.toFixed(1)} ms`)
      .join(', '),
  );
  await watch.stop();
} finally {
  await stopEmbeddedPostgres(home);
  rmSync(base, { recursive: true, force: true });
}
