import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stopEmbeddedPostgres } from '../libs/registry/embedded/index.ts';

/** A command that takes longer than this hangs: it is killed, so that its test fails. */
const HANGS_MS = 180_000;
const MAIN = join(import.meta.dirname, '../apps/cli/main.ts');

export interface Line {
  readonly type: string;
  readonly label?: string;
  readonly code?: string;
  readonly tags?: Readonly<Record<string, string>>;
  readonly [key: string]: unknown;
}

export interface Result {
  readonly status: number | null;
  readonly lines: readonly Line[];
  /** The last line: the summary, or the error. */
  readonly last: Line;
  readonly text: string;
}

/** A `tidemark` process that runs. */
export class Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Result>;
  readonly #firstOutput: Promise<void>;

  constructor(args: readonly string[], env: NodeJS.ProcessEnv) {
    this.child = spawn(process.execPath, [MAIN, '--json', ...args], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: HANGS_MS,
      killSignal: 'SIGKILL',
    });
    let stdout = '';
    let stderr = '';
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#firstOutput = promise;
    this.child.stdout!.setEncoding('utf8').on('data', (text) => {
      stdout += text;
      resolve();
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text) => {
      stderr += text;
    });
    this.ended = new Promise((done) =>
      this.child.once('close', (status) => {
        resolve();
        done(resultOf(status, stdout, stderr));
      }),
    );
  }

  /** Something was printed, or the process ended. */
  begun = (): Promise<void> => this.#firstOutput;

  kill = (signal: NodeJS.Signals = 'SIGKILL'): boolean => this.child.kill(signal);
}

function resultOf(status: number | null, stdout: string, stderr: string): Result {
  const lines = stdout
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as Line);
  return { status, lines, last: lines.at(-1) ?? { type: 'nothing' }, text: stdout + stderr };
}

/** Room in memory where there is some, else on disk; others may pass through, since Postgres is another user. */
const scratchRoot = (): string => {
  try {
    return statfsSync('/dev/shm').type === 0x01021994 ? '/dev/shm' : tmpdir();
  } catch {
    return tmpdir();
  }
};

/** A folder with a home of its own, and the command that uses it. */
export class Place {
  readonly base: string;
  readonly home: string;
  readonly env: NodeJS.ProcessEnv;

  private constructor(base: string) {
    this.base = base;
    this.home = join(base, 'home');
    this.env = { ...process.env, TIDEMARK_HOME: this.home, TIDEMARK_PG_IDLE_SECONDS: '2' };
    for (const name of ['TIDEMARK_STORE', 'TIDEMARK_REGISTRY_URL', 'TIDEMARK_JSON']) delete this.env[name];
  }

  static async make(name: string): Promise<Place> {
    const base = mkdtempSync(join(scratchRoot(), `tidemark-${name}-`));
    await chmod(base, 0o711);
    return new Place(base);
  }

  path = (...names: string[]): string => join(this.base, ...names);

  start(args: readonly string[], env: NodeJS.ProcessEnv = {}): Running {
    return new Running(args, { ...this.env, ...env });
  }

  run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Result> {
    return this.start(args, env).ended;
  }

  /** Throws unless the command exits with 0. */
  async ok(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Result> {
    const result = await this.run(args, env);
    if (result.status !== 0) throw new Error(`tidemark ${args.join(' ')}: ${result.status}\n${result.text}`);
    return result;
  }

  /** `homes`: further ones than the place's own. */
  async dispose(...homes: string[]): Promise<void> {
    for (const home of [this.home, ...homes]) await stopEmbeddedPostgres(home);
    rmSync(this.base, { recursive: true, force: true });
  }
}
