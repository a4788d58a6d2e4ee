import { type ChildProcess, execFileSync, fork, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished } from 'vitest';
import type { Line, Place } from '../command.ts';

const MAIN = join(import.meta.dirname, '../../apps/cli/main.ts');
const WRITER = join(import.meta.dirname, 'storm-process.ts');
const TREEDIFF = join(import.meta.dirname, '../cycle/treediff.py');
/** Milliseconds; at the full size of a storm tests take their time. */
const PATIENCE_MS = process.env.TIDEMARK_STORM_FULL === '1' ? 900_000 : 120_000;

/** A `tidemark watch` process and what it printed. */
export class Watch {
  readonly lines: Line[] = [];
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;
  #stderr = '';
  #onLine: () => void = () => {};

  constructor(place: Place, args: readonly string[]) {
    this.child = spawn(process.execPath, [MAIN, '--json', 'watch', ...args], {
      env: place.env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    createInterface({ input: this.child.stdout! }).on('line', (line) => {
      this.lines.push(JSON.parse(line) as Line);
      this.#onLine();
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text) => {
      this.#stderr += text;
    });
    this.exited = once(this.child, 'close').then(([code]) => code);
    this.exited.then(() => this.#onLine());
  }

  get pid(): number {
    return this.child.pid!;
  }

  get commits(): Line[] {
    return this.lines.filter(({ type }) => type === 'commit');
  }

  /** The first line that fits, of those after the first `from`. Throws where the process ends or nothing comes. */
  async line(fits: (line: Line) => boolean, from = 0): Promise<Line> {
    const end = performance.now() + PATIENCE_MS;
    for (;;) {
      const line = this.lines.slice(from).find(fits);
      if (line) return line;
      const left = end - performance.now();
      if (this.child.exitCode !== null || this.child.signalCode !== null || left <= 0)
        throw new Error(`no such line\n${this.told}`);
      await Promise.race([
        new Promise<void>((resolve) => {
          this.#onLine = resolve;
        }),
        sleep(left, undefined, { ref: false }),
      ]);
    }
  }

  watching = (): Promise<Line> => this.line(({ type }) => type === 'watching');

  get told(): string {
    return `${this.lines
      .slice(-30)
      .map((line) => JSON.stringify(line))
      .join('\n')}\n${this.#stderr.slice(-4000)}`;
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.signal('SIGCONT');
    this.signal(signal);
    return this.exited;
  }
}

/** What `status` says of the watch: all that was noticed is committed, and the label of the commit. */
export async function caughtUp(place: Place, tree: string): Promise<string> {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    const { lines, text } = await place.run(['status', tree]);
    const watch = lines.find(({ type }) => type === 'watch');
    if (watch?.recoveryPoint === 0 && watch.pending === 0) return String(watch.lastCommit);
    if (performance.now() > end) throw new Error(`it does not catch up\n${text}`);
    await sleep(300);
  }
}

/**
 * A folder on a file system of its own, where this user may mount one: fanotify tells of all that happens on a file
 * system, and what home and other tests do there may overflow its queue. To be made after the place's own disposal is arranged.
 */
export function ownFileSystem(path: string): void {
  mkdirSync(path);
  if (spawnSync('/bin/mount', ['-t', 'tmpfs', 'tidemark-test', path]).status !== 0) return;
  onTestFinished(() => void execFileSync('/bin/umount', ['--lazy', path]));
}

/** Processes that change a tree, which has a part `storm` and a part `calm`, until they are told otherwise. */
export class Writers {
  readonly #children: ChildProcess[];

  constructor(tree: string, count: number, seed: number) {
    this.#children = Array.from({ length: count }, (_, i) =>
      fork(WRITER, [tree, ...[seed * 100 + i, i, count].map(String)]),
    );
  }

  async pause(): Promise<void> {
    await Promise.all(
      this.#children.map(async (child) => {
        const answered = once(child, 'message');
        child.send('pause');
        await answered;
      }),
    );
  }

  resume(): void {
    for (const child of this.#children) child.send('resume');
  }

  async stop(): Promise<void> {
    const codes = this.#children.map(async (child) => {
      if (child.exitCode !== null) return child.exitCode;
      const ended = once(child, 'exit');
      child.send('stop');
      return (await ended)[0];
    });
    expect(await Promise.all(codes)).toEqual(this.#children.map(() => 0));
  }

  kill(): void {
    for (const child of this.#children) child.kill('SIGKILL');
  }
}

export const copyOf = (tree: string, copy: string): void => {
  execFileSync('cp', ['-a', tree, copy]);
};

export function expectSame(a: string, b: string): void {
  const printed = execFileSync('python3', [TREEDIFF, a, b], { encoding: 'utf8', maxBuffer: 1 << 28 });
  expect(JSON.parse(printed)).toEqual({ diff: {}, examples: {} });
}

export async function expectRestores(place: Place, label: string, tree: string, copy: string): Promise<void> {
  const target = place.path(`restored-${label}`);
  await place.ok(['restore', label, '--to', target, '--source', tree]);
  expectSame(copy, target);
  rmSync(target, { recursive: true });
}
