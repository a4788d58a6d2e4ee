import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { Client } from 'pg';
import type { EmbeddedPostgres } from './index.ts';
import { embeddedPostgresStatus, stopEmbeddedPostgres } from './index.ts';

/** Condition instead of sleep; fails after 20 s. */
export async function until<T>(what: string, condition: () => T | Promise<T>): Promise<NonNullable<T>> {
  for (const start = performance.now(); performance.now() - start < 20_000; await wait(5)) {
    const value = await condition();
    if (value) return value as NonNullable<T>;
  }
  throw new Error(`waited in vain: ${what}`);
}

/** A home that doesn't exist yet, in a folder that every user may enter unless `parentMode` says otherwise. */
export class TestHome {
  readonly parent: string;
  readonly home: string;

  constructor(options: { name?: string; parentMode?: number } = {}) {
    this.parent = mkdtempSync(join(tmpdir(), 'tidemark-embedded-'));
    chmodSync(this.parent, options.parentMode ?? 0o755);
    this.home = join(this.parent, options.name ?? 'home');
  }

  get registry(): string {
    return join(this.home, 'registry');
  }

  /** Where data and binaries are. */
  get place(): string {
    const pointer = join(this.registry, 'place');
    return existsSync(pointer) ? readFileSync(pointer, 'utf8').trim() : this.registry;
  }

  /** Ids of the processes that belong to the home: server, supervisor and what it runs. */
  processes(): number[] {
    return readdirSync('/proc')
      .map(Number)
      .filter((pid) => pid > 0 && this.#owns(pid));
  }

  #owns(pid: number): boolean {
    try {
      const cwd = readlinkSync(`/proc/${pid}/cwd`).replace(/ \(deleted\)$/, '');
      return `${cwd}/`.startsWith(`${this.place}/`);
    } catch {
      return false;
    }
  }

  async pid(): Promise<number | undefined> {
    return (await embeddedPostgresStatus(this.home)).pid;
  }

  /** The supervisor's pid, as soon as it has written it down. */
  supervisor(): Promise<number> {
    return until('the supervisor runs', () =>
      Number(readFileSync(join(this.registry, 'supervisor.lock'), 'utf8')),
    );
  }

  nothingRuns = (): Promise<boolean> =>
    until('no process of the home is left', () => this.processes().length === 0);

  async dispose(): Promise<void> {
    await stopEmbeddedPostgres(this.home);
    await this.nothingRuns();
    if (this.place !== this.registry) rmSync(this.place, { recursive: true });
    const socketDir = join(this.registry, 'socket-dir');
    if (existsSync(socketDir))
      rmSync(readFileSync(socketDir, 'utf8').trim(), { recursive: true, force: true });
    rmSync(this.parent, { recursive: true });
  }
}

/** Runs one statement over a connection of its own: rows as arrays. */
export async function query(pg: EmbeddedPostgres, sql: string): Promise<unknown[][]> {
  const client = new Client(pg.connection);
  await client.connect();
  try {
    return (await client.query({ text: sql, rowMode: 'array' })).rows;
  } finally {
    await client.end();
  }
}

const MODULE = new URL('./index.ts', import.meta.url).href;

/** Acquires argv[1], says so with the server's pid, and holds it until its standard input ends. */
const programFor = (module: string): string => `
  import { acquireEmbeddedPostgres, embeddedPostgresStatus } from ${JSON.stringify(module)};
  const pg = await acquireEmbeddedPostgres({ home: process.argv[1], idleSeconds: Number(process.argv[2]) });
  console.log((await embeddedPostgresStatus(process.argv[1])).pid);
  process.stdin.on('end', () => pg.release()).resume();`;

export interface CommandOptions {
  readonly idleSeconds?: number;
  readonly env?: NodeJS.ProcessEnv;
  readonly uid?: number;
  readonly node?: string;
  readonly module?: string;
}

/** Another process that uses the home's server, like a command. */
export class Command {
  readonly child: ChildProcess;
  /** The server's pid, once acquired. */
  readonly acquired: Promise<number>;
  readonly ended: Promise<void>;

  constructor(home: string, options: CommandOptions = {}) {
    const args = ['--input-type=module', '-e', programFor(options.module ?? MODULE), home];
    args.push(String(options.idleSeconds ?? 30));
    this.child = spawn(options.node ?? process.execPath, args, {
      cwd: '/',
      env: options.env ?? process.env,
      stdio: ['pipe', 'pipe', 'inherit'],
      ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
    });
    this.ended = new Promise((resolve) => this.child.once('close', () => resolve()));
    this.acquired = this.#firstLine();
    this.acquired.catch(() => {});
  }

  async #firstLine(): Promise<number> {
    for await (const line of createInterface({ input: this.child.stdout! })) return Number(line);
    throw new Error('the command ended before it had the server');
  }

  /** Lets it go its way to the end. */
  async end(): Promise<void> {
    this.child.stdin!.end();
    await this.ended;
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.ended;
  }
}
