import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { expect } from 'vitest';
import { Engine } from '../../libs/embedded/engine.ts';
import { stopEmbeddedPostgres } from '../../libs/registry/embedded/index.ts';

const MAIN = join(import.meta.dirname, '../../apps/cli/main.ts');
const TREEDIFF = join(import.meta.dirname, '../cycle/treediff.py');

export interface Line {
  readonly type: string;
  readonly label?: string;
  readonly code?: string;
  readonly [key: string]: unknown;
}

export interface Ran {
  readonly status: number | null;
  readonly lines: readonly Line[];
  readonly last: Line;
  readonly text: string;
}

/** Condition instead of sleep. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  for (const start = performance.now(); performance.now() - start < 20_000; await wait(2))
    if (condition()) return;
  throw new Error(`waited in vain: ${what}`);
}

/** Bytes that don't compress, the same for the same seed. */
export function noise(seed: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  let state = (seed * 2_654_435_761) >>> 0 || 1;
  for (let i = 0; i < length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state >>> 11;
  }
  return bytes;
}

/** A home with a store, a folder that is backed up, and a copy of the folder for each backup. */
export class RetainRig {
  readonly base: string;
  readonly source: string;
  readonly home: string;
  readonly env: NodeJS.ProcessEnv;
  readonly #restored = { count: 0 };

  constructor(name: string) {
    this.base = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), `tidemark-${name}-`));
    chmodSync(this.base, 0o711);
    this.source = join(this.base, 'source');
    this.home = join(this.base, 'home');
    this.env = { ...process.env, TIDEMARK_HOME: this.home, TIDEMARK_PG_IDLE_SECONDS: '1' };
    for (const key of ['TIDEMARK_STORE', 'TIDEMARK_REGISTRY_URL', 'TIDEMARK_JSON', 'TIDEMARK_SOURCE'])
      delete this.env[key];
    mkdirSync(this.source);
  }

  async close(): Promise<void> {
    await stopEmbeddedPostgres(this.home);
    rmSync(this.base, { recursive: true, force: true });
  }

  run(...args: string[]): Ran {
    const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args, '--json'], {
      env: this.env,
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    });
    const lines = stdout
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Line);
    return { status, lines, last: lines.at(-1) ?? { type: 'nothing' }, text: stdout + stderr };
  }

  /** Runs what has to end with 0. */
  ok(...args: string[]): Ran {
    const ran = this.run(...args);
    expect(ran.status, `${args.join(' ')}: ${ran.text}`).toBe(0);
    return ran;
  }

  start(...args: string[]): { child: ChildProcess; ended: Promise<number | null> } {
    const child = spawn(process.execPath, [MAIN, ...args, '--json'], {
      env: this.env,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const ended = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
    return { child, ended };
  }

  /** Store and registry of the home in this process, for what a command cannot be made to do. */
  async withEngine<T>(work: (engine: Engine) => Promise<T>): Promise<T> {
    const engine = await Engine.open({
      home: this.home,
      storeUrl: pathToFileURL(join(this.home, 'store')).href,
      registryUrl: undefined,
      identityFile: undefined,
      passphrase: undefined,
      create: false,
      onStatus: () => {},
    });
    try {
      return await work(engine);
    } finally {
      await engine.close();
    }
  }

  /** Backs up and copies the tree as it is; gives the label. */
  backup(...options: string[]): string {
    const { last } = this.ok('backup', this.source, ...options);
    this.#copyTo(last.label!);
    return last.label!;
  }

  #copyTo(label: string): void {
    const { status, stderr } = spawnSync('cp', ['-a', this.source, this.copy(label)], { encoding: 'utf8' });
    expect(status, stderr).toBe(0);
  }

  copy(label: string): string {
    return join(this.base, `copy-${label}`);
  }

  labels(): string[] {
    return this.ok('backups').lines.map((line) => line.label!);
  }

  expectRestores(label: string): void {
    const target = join(this.base, `restored${this.#restored.count++}`);
    this.ok('restore', label, '--source', this.source, '--to', target);
    const { stdout } = spawnSync('python3', [TREEDIFF, this.copy(label), target], { encoding: 'utf8' });
    expect(JSON.parse(stdout), label).toEqual({ diff: {}, examples: {} });
    rmSync(target, { recursive: true });
  }

  /** Every backup there is restores exactly, and every block of the store is whole. */
  expectAllWell(): void {
    for (const label of this.labels()) this.expectRestores(label);
    expect(this.ok('verify', '--read-data').last).toMatchObject({ findings: 0 });
  }

  packs(): string[] {
    const folder = join(this.home, 'store', 'packs');
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((one) => one.isFile())
      .map((one) => one.name)
      .sort();
  }

  /** Names and sizes of all objects of the store. */
  objects(): string[] {
    const store = join(this.home, 'store');
    return readdirSync(store, { recursive: true, withFileTypes: true })
      .filter((one) => one.isFile())
      .map((one) => join(one.parentPath, one.name))
      .map((path) => `${path} ${statSync(path).size}`)
      .sort();
  }

  /** Bytes on disk. */
  used(): number {
    const { stdout } = spawnSync('du', ['-sB1', join(this.home, 'store')], { encoding: 'utf8' });
    return Number(stdout.split('\t')[0]);
  }

  /** Round n of edits, whose new content only round n has: churn that comes and goes, a file that grows, renames, deletions, a change of type. */
  edit(n: number): void {
    const at = (...names: string[]) => join(this.source, ...names);
    mkdirSync(at('kept'), { recursive: true });
    if (n === 1) for (let i = 0; i < 30; i++) writeFileSync(at('kept', `f${i}`), noise(i + 1000, 4000 + i));
    rmSync(at('churn'), { recursive: true, force: true });
    mkdirSync(at('churn'));
    for (let i = 0; i < 3; i++) writeFileSync(at('churn', `${n}-${i}`), noise(n * 10 + i, 900_000));
    writeFileSync(at('kept', 'f0'), `round ${n}`);
    writeFileSync(at('grows'), noise(77, n * 5000));
    writeFileSync(at(`only-in-${n}`), `round ${n}`);
    rmSync(at(`only-in-${n - 1}`), { force: true });
    if (n > 1) renameSync(at(`moved-${n - 1}`), at(`moved-${n}`));
    else writeFileSync(at('moved-1'), noise(5, 300_000));
    rmSync(at('type'), { recursive: true, force: true });
    if (n % 2 === 0) mkdirSync(at('type'));
    else writeFileSync(at('type'), 'a file');
  }

  /** Puts the content that only round n had back. */
  bringBack(label: string): void {
    rmSync(join(this.source, 'churn'), { recursive: true });
    cpSync(join(this.copy(label), 'churn'), join(this.source, 'churn'), { recursive: true });
  }
}
