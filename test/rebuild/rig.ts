import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'vitest';
import { backup } from '../../libs/embedded/backup.ts';
import { Engine, type EngineConfig } from '../../libs/embedded/engine.ts';
import type { BackupInfo } from '../../libs/model/backup.ts';
import type { BackupKind } from '../../libs/model/label.ts';
import { stopEmbeddedPostgres } from '../../libs/registry/embedded/index.ts';

export const MAIN = join(import.meta.dirname, '../../apps/cli/main.ts');
const TREE = join(import.meta.dirname, '../cycle/tree.py');
const DIFF = join(import.meta.dirname, '../cycle/treediff.py');

export interface Line {
  readonly type: string;
  readonly code?: string;
  readonly label?: string;
  readonly [key: string]: unknown;
}

export interface Said {
  readonly status: number | null;
  readonly lines: Line[];
  readonly last: Line;
  readonly text: string;
}

export function run(program: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

/** A folder with homes, a store and sources; the command, and the engine in this process, on any of the homes. */
export class Rig {
  readonly base: string;
  readonly store: string;
  readonly #homes = new Set<string>();

  constructor(name: string) {
    this.base = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), `tidemark-${name}-`));
    chmodSync(this.base, 0o711); // Postgres runs as another user
    this.store = join(this.base, 'store');
    process.env.TIDEMARK_PG_IDLE_SECONDS = '1';
  }

  path(...names: string[]): string {
    return join(this.base, ...names);
  }

  env(home: string): NodeJS.ProcessEnv {
    this.#homes.add(home);
    const env = { ...process.env, TIDEMARK_HOME: this.path(home), TIDEMARK_STORE: this.store };
    for (const name of ['TIDEMARK_REGISTRY_URL', 'TIDEMARK_JSON', 'TIDEMARK_PASSPHRASE', 'TIDEMARK_IDENTITY'])
      delete (env as NodeJS.ProcessEnv)[name];
    return env;
  }

  tidemark(home: string, args: readonly string[], more: NodeJS.ProcessEnv = {}): Said {
    const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args, '--json'], {
      env: { ...this.env(home), ...more },
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    });
    const lines = stdout
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Line)
      .filter((line) => line.type !== 'progress');
    return { status, lines, last: lines.at(-1) ?? { type: 'nothing' }, text: stdout + stderr };
  }

  /** What people read of a command that works. */
  told(home: string, ...args: string[]): { stdout: string; stderr: string } {
    const said = spawnSync(process.execPath, [MAIN, ...args], { env: this.env(home), encoding: 'utf8' });
    expect(said.status, said.stderr).toBe(0);
    return said;
  }

  /** As `tidemark`, and it has to work. */
  done(home: string, ...args: string[]): Said {
    const said = this.tidemark(home, args);
    expect(said.status, `${args.join(' ')}: ${said.text}`).toBe(0);
    return said;
  }

  config(home: string, more: Partial<EngineConfig> = {}): EngineConfig {
    this.#homes.add(home);
    return {
      home: this.path(home),
      storeUrl: pathToFileURL(this.store).href,
      registryUrl: undefined,
      identityFile: undefined,
      passphrase: undefined,
      create: true,
      onStatus: () => {},
      ...more,
    };
  }

  async withEngine<T>(
    home: string,
    work: (engine: Engine) => Promise<T>,
    more: Partial<EngineConfig> = {},
  ): Promise<T> {
    const engine = await Engine.open(this.config(home, more));
    try {
      return await work(engine);
    } finally {
      await engine.close();
    }
  }

  makeTree(source: string): void {
    run('python3', TREE, 'make', source);
  }

  editTree(source: string, round: number): void {
    run('python3', TREE, 'edit', String(round), source);
  }

  async close(): Promise<void> {
    for (const home of this.#homes) await stopEmbeddedPostgres(this.path(home));
    rmSync(this.base, { recursive: true, force: true });
  }
}

export const backUp = (
  engine: Engine,
  dir: string,
  kind?: BackupKind,
  gaps?: readonly string[],
): Promise<BackupInfo> =>
  backup(engine, {
    dir,
    kind,
    tags: {},
    excludes: [],
    oneFileSystem: false,
    acceptRoot: false,
    threads: 1,
    gaps,
    onProblem: ({ message }) => expect.unreachable(message),
    onProgress: () => {},
    signal: new AbortController().signal,
  });

/** Exactly the same trees, by two programs that are not ours. */
export function expectSame(a: string, b: string): void {
  expect(JSON.parse(spawnSync('python3', [DIFF, a, b], { encoding: 'utf8' }).stdout)).toEqual({
    diff: {},
    examples: {},
  });
  expect(run('rsync', '-naiHAX', '--checksum', '--delete', '--modify-window=-1', `${a}/`, `${b}/`)).toBe('');
}

/** Expires backups as the command does: journal first, then the registry, then the rows that nobody sees. */
export async function expire(engine: Engine, source: string, seqs: readonly number[]): Promise<void> {
  const { backups, entries } = engine.registry;
  const row = (await backups.sources()).find((one) => one.root.toString() === source)!;
  const record = { kind: 'expiry' as const, source: row.uid, sourceSeqs: [...seqs], reason: 'test' };
  const ids = (await backups.list({ sourceId: row.id }))
    .filter((one) => seqs.includes(one.seq))
    .map((one) => one.id);
  expect(ids).toHaveLength(seqs.length);
  await engine.decide([record], [], (head) => backups.expire(ids, head, [], new Date()));
  const left = await backups.list({ sourceId: row.id });
  expect(
    left.filter((one) => seqs.includes(one.seq)),
    'needed by what stays',
  ).toEqual([]);
  await entries.dropUnseen(row.id);
}
