import { type SpawnSyncOptions, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stopEmbeddedPostgres } from '../../libs/registry/embedded/index.ts';

export const MAIN = join(import.meta.dirname, '../../apps/cli/main.ts');

export interface Line {
  readonly type: string;
  readonly code?: string;
  readonly label?: string;
  readonly [key: string]: unknown;
}

export interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A folder with a home, and the real command as a user runs it. */
export class Rig {
  readonly base: string;
  readonly home: string;
  readonly env: NodeJS.ProcessEnv;

  constructor(name: string) {
    this.base = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), `tidemark-${name}-`));
    chmodSync(this.base, 0o711);
    this.home = join(this.base, 'home');
    const env: NodeJS.ProcessEnv = {
      ...process.env,
      TIDEMARK_HOME: this.home,
      TIDEMARK_PG_IDLE_SECONDS: '1',
    };
    for (const name of Object.keys(process.env)) {
      if (name.startsWith('TIDEMARK_') || name === 'NODE_OPTIONS') delete env[name];
    }
    this.env = { ...env, TIDEMARK_HOME: this.home, TIDEMARK_PG_IDLE_SECONDS: '1' };
  }

  /** A path below the rig's folder. */
  path(...names: string[]): string {
    return join(this.base, ...names);
  }

  folder(...names: string[]): string {
    const path = this.path(...names);
    mkdirSync(path, { recursive: true });
    return path;
  }

  run(args: readonly string[], env: NodeJS.ProcessEnv = {}, options: SpawnSyncOptions = {}): Result {
    return this.exec(process.execPath, [MAIN, ...args], env, options);
  }

  exec(
    program: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv = {},
    options: SpawnSyncOptions = {},
  ): Result {
    const { status, stdout, stderr, error } = spawnSync(program, args, {
      env: { ...this.env, NODE: process.execPath, MAIN, ...env },
      encoding: 'utf8',
      maxBuffer: 1 << 28,
      ...options,
    });
    if (error) throw error;
    return { status, stdout: String(stdout), stderr: String(stderr) };
  }

  /** Runs a line of bash, in which `tidemark` is the command; for redirections and bytes in arguments. */
  bash(line: string, env: NodeJS.ProcessEnv = {}): Result {
    return this.exec('bash', ['-c', `tidemark() { "$NODE" "$MAIN" "$@"; }\n${line}`], env);
  }

  json(args: readonly string[], env: NodeJS.ProcessEnv = {}): Result & { lines: Line[]; last: Line } {
    const result = this.run([...args, '--json'], env);
    const lines = jsonLines(result.stdout);
    return { ...result, lines, last: lines.at(-1) ?? { type: 'nothing' } };
  }

  async dispose(): Promise<void> {
    await stopEmbeddedPostgres(this.home);
    rmSync(this.base, { recursive: true, force: true });
  }
}

/** Every line has to be JSON. */
export const jsonLines = (text: string): Line[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);
