import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import { catalogueRoutes, scheduleRoutes } from '../../libs/contracts/api/control.ts';
import type { BackupView, JobView, SourceView } from '../../libs/contracts/api/control-views.ts';
import type { HttpClient } from '../../libs/http/client.ts';
import type { BackupKind } from '../../libs/model/label.ts';
import { expectSame, MAIN } from '../rebuild/rig.ts';
import { until } from './registry-view.ts';
import type { Stack } from './stack.ts';

const run = promisify(execFile);
const TREE = join(import.meta.dirname, '../cycle/tree.py');
/** How often a backup that failed for a kill is asked for again. */
const TRIES = 5;

/** A backup that is committed, and what it has to restore to. */
interface Kept {
  readonly label: string;
  readonly source: string;
  readonly copy: string;
}

/** The trees of a stack's agents, their backups, and copies of what each of them saw. */
export class Fleet {
  readonly stack: Stack;
  readonly #admin: HttpClient;
  readonly kept: Kept[] = [];
  /** Codes of the backups that failed and were asked for again. */
  readonly failures: string[] = [];

  constructor(stack: Stack) {
    this.stack = stack;
    this.#admin = stack.admin();
  }

  tree(agent: string): string {
    return join(this.stack.base, `tree-${agent}`);
  }

  /** Every kind of entry, and one that no other agent has. */
  async make(agent: string): Promise<void> {
    await run('python3', [TREE, 'make', this.tree(agent)]);
    writeFileSync(join(this.tree(agent), 'whose'), agent.repeat(50_000));
  }

  edit(agent: string, round: number): Promise<unknown> {
    return run('python3', [TREE, 'edit', String(round), this.tree(agent)]);
  }

  async source(agent: string): Promise<SourceView | undefined> {
    const { sources } = await this.#admin.call(catalogueRoutes.listSources, { query: { limit: 100 } });
    return sources.find((one) => one.root === this.tree(agent));
  }

  /** Those of an agent that have ended, in the order in which they were opened. */
  async ended(agent: string): Promise<BackupView[]> {
    const source = await this.source(agent);
    if (!source) return [];
    const query = { limit: 1000, all: 'true' as const, source: source.id };
    const { backups } = await this.#admin.call(catalogueRoutes.listBackups, { query });
    return backups.filter(({ state }) => state === 'committed' || state === 'failed' || state === 'fenced');
  }

  /** The one that the agent makes by itself when it starts, or, where that failed, one that is asked for. */
  async first(agent: string): Promise<BackupView> {
    const backup = await until(async () => (await this.ended(agent))[0]);
    if (backup.state === 'committed') return this.keep(agent, backup);
    this.failures.push(backup.failure!);
    return this.backUp(agent);
  }

  /** By a job; one that fails with a code is asked for again. */
  async backUp(agent: string, kind?: BackupKind): Promise<BackupView> {
    for (let i = 0; i < TRIES; i++) {
      const backup = await this.once(agent, kind);
      if (backup) return backup;
    }
    throw new Error(`${agent}: ${TRIES} backups failed: ${this.failures}\n${this.stack.troubles}`);
  }

  /** By a job, once: undefined where it failed with a code. */
  async once(agent: string, kind?: BackupKind): Promise<BackupView | undefined> {
    const job = await this.#job((await this.source(agent))!, kind);
    if (job.state === 'done') {
      const backup = (await this.ended(agent)).find(({ id }) => id === job.backup)!;
      expect(backup).toMatchObject({ state: 'committed', failure: null });
      return this.keep(agent, backup);
    }
    expect(job.failure).toMatch(/^TM\d{4}$/);
    this.failures.push(job.failure!);
    return undefined;
  }

  /** As it ended. */
  async #job(source: SourceView, kind: BackupKind | undefined): Promise<JobView> {
    const body = { source: source.id, ...(kind && { kind }) };
    const { job } = await this.#admin.call(scheduleRoutes.makeJob, { body });
    return until(async () => {
      const { jobs } = await this.#admin.call(scheduleRoutes.listJobs, {
        query: { source: source.id, limit: 100 },
      });
      return jobs.find(({ id, state }) => id === job.id && (state === 'done' || state === 'failed'));
    });
  }

  /** Remembers what it has to restore to: the tree as it is now. */
  async keep(agent: string, backup: BackupView): Promise<BackupView> {
    const copy = join(this.stack.base, `copy-${backup.label}-${agent}`);
    await run('cp', ['-a', this.tree(agent), copy]);
    this.kept.push({ label: backup.label, source: `${agent}:${this.tree(agent)}`, copy });
    return backup;
  }

  /**
   * Restores every backup that was kept, and compares. By the command with nothing but store and identity, in a registry
   * that is rebuilt: the services of the stack lose the store by it.
   */
  async expectAllRestored(): Promise<void> {
    const { stack } = this;
    const [home, identity, target] = ['rebuilt', 'identity', 'restored'].map((name) =>
      join(stack.base, name),
    );
    mkdirSync(home!, { mode: 0o711 });
    writeFileSync(identity!, `${stack.identity}\n`, { mode: 0o600 });
    const env = {
      PATH: process.env.PATH,
      TIDEMARK_HOME: home,
      TIDEMARK_STORE: stack.storeUrl,
      ...(stack.gcsEndpoint && { TIDEMARK_GCS_ENDPOINT: stack.gcsEndpoint }),
    };
    const tidemark = (...args: string[]) =>
      run(process.execPath, [MAIN, ...args, '--json', '--identity', identity!], { env, maxBuffer: 1 << 28 });
    await tidemark('registry', 'rebuild');
    for (const { label, source, copy } of this.kept) {
      const to = `${target}-${label}-${source.split(':')[0]}`;
      await tidemark('restore', label, '--source', source, '--to', to);
      expectSame(copy, to);
    }
  }

  close(): void {
    this.#admin.close();
  }
}
