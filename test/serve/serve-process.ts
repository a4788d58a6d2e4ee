import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { vi } from 'vitest';
import type { Line } from '../rebuild/rig.ts';

const MAIN = join(import.meta.dirname, '../../dist/apps/cli/main.js');
const WITHIN_MS = 60_000;

/** `tidemark serve --json` as users run it: from dist/, which `npm test` builds. */
export class ServeProcess {
  readonly lines: Line[] = [];
  readonly ended: Promise<number | null>;
  readonly #child: ChildProcess;
  #log = '';

  constructor(env: NodeJS.ProcessEnv, listen: string) {
    const args = ['--disable-warning=ExperimentalWarning', MAIN, 'serve', '--json', '--listen', listen];
    this.#child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let rest = '';
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      const parts = (rest + text).split('\n');
      rest = parts.pop()!;
      this.lines.push(...parts.map((line) => JSON.parse(line) as Line));
    });
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#log += text;
    });
    this.ended = new Promise((done) => this.#child.once('close', (code) => done(code)));
  }

  static async start(env: NodeJS.ProcessEnv, listen = '127.0.0.1:0'): Promise<ServeProcess> {
    const serve = new ServeProcess(env, listen);
    await serve.until((line) => line.type === 'serving');
    return serve;
  }

  get url(): string {
    return this.lines.find(({ type }) => type === 'serving')!.url as string;
  }

  /** What it said on stderr. */
  get log(): string {
    return this.#log;
  }

  /** The first line that is like this; fails when the process ends before, or none comes. */
  async until(isIt: (line: Line) => boolean): Promise<Line> {
    const options = { timeout: WITHIN_MS, interval: 20 };
    await vi.waitUntil(() => this.#child.exitCode !== null || this.lines.some(isIt), options).catch(() => {});
    const found = this.lines.find(isIt);
    if (!found) throw new Error(`serve does not say so:\n${JSON.stringify(this.lines)}\n${this.#log}`);
    return found;
  }

  /** Backups that it told of as committed. */
  committed(): Line[] {
    return this.lines.filter(({ type }) => type === 'backup.committed');
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<number | null> {
    this.#child.kill(signal);
    return this.ended;
  }
}
