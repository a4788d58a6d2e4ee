import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { docker, IMAGE, PROJECT, tryDocker } from './engine.ts';

const PAUSE_MS = 500;

/** A container of the stack as `docker compose ps` tells of it. */
export interface Container {
  readonly Service: string;
  readonly State: string;
  /** Empty where there is no health check. */
  readonly Health: string;
  readonly ExitCode: number;
}

export type Line = Readonly<Record<string, unknown>>;

export const jsonLines = (text: string): Line[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Line);

/** docker-compose.yml as it is, under a name and on ports of its own, over a folder that the test fills. */
export class Stack {
  readonly base = mkdtempSync(join(tmpdir(), 'tidemark-stack-'));
  readonly source = join(this.base, 'source');

  constructor() {
    chmodSync(this.base, 0o755);
    mkdirSync(this.source);
    chmodSync(this.source, 0o755);
  }

  get #env(): NodeJS.ProcessEnv {
    return {
      TIDEMARK_IMAGE: IMAGE,
      TIDEMARK_DEMO_DIR: this.source,
      TIDEMARK_PORT: '',
      TIDEMARK_WRITER_PORT: '',
    };
  }

  compose = (...args: string[]): Promise<string> =>
    docker(['compose', '--project-name', PROJECT, ...args], this.#env);

  containers = async (): Promise<Container[]> =>
    jsonLines(await this.compose('ps', '--all', '--format', 'json')) as unknown as Container[];

  /** Resolves when what keeps running is healthy and every step has ended well; throws when something has not. */
  async healthy(withinMs: number): Promise<Container[]> {
    const end = performance.now() + withinMs;
    for (;;) {
      const containers = await this.containers();
      if (containers.length > 0 && containers.every(isWell)) return containers;
      if (performance.now() > end) throw new Error(`not healthy: ${await this.#report(containers)}`);
      await sleep(PAUSE_MS);
    }
  }

  /** Runs the stack's `cli` service; gives its JSON lines. */
  async tidemark(args: readonly string[], options: readonly string[] = []): Promise<Line[]> {
    return jsonLines(
      await this.compose('run', '--rm', '-T', '--no-deps', ...options, 'cli', '--json', ...args),
    );
  }

  /** Backups of the stack's agent, oldest first, as soon as they are as wanted. */
  async backupsUntil(areWanted: (backups: readonly Line[]) => boolean, withinMs: number): Promise<Line[]> {
    const end = performance.now() + withinMs;
    for (;;) {
      const backups = (await this.tidemark(['backups'])).filter(({ type }) => type === 'backup');
      if (areWanted(backups)) return backups;
      if (performance.now() > end) throw new Error(`still only ${JSON.stringify(backups)}`);
      await sleep(PAUSE_MS);
    }
  }

  async dispose(): Promise<void> {
    await tryDocker(
      ['compose', '--project-name', PROJECT, '--profile', 'cli', 'down', '--volumes', '--timeout', '5'],
      this.#env,
    );
    rmSync(this.base, { recursive: true, force: true });
  }

  async #report(containers: readonly Container[]): Promise<string> {
    const bad = containers.filter((one) => !isWell(one));
    const logs = await this.compose(
      'logs',
      '--no-color',
      '--tail',
      '30',
      ...bad.map(({ Service }) => Service),
    );
    return `${bad.map((one) => `${one.Service} ${one.State} ${one.Health} ${one.ExitCode}`).join(', ')}\n${logs}`;
  }
}

/** Steps have to have ended; the emulator's image holds nothing that could ask after its health. */
const isWell = ({ Service, State, Health, ExitCode }: Container): boolean =>
  State === 'running' ? Health === 'healthy' || Service === 'gcs' : State === 'exited' && ExitCode === 0;
