import { setTimeout as sleep } from 'node:timers/promises';
import { checkedRoot } from '../../libs/agent/checked-root.ts';
import { identify } from '../../libs/agent/folder-identity.ts';
import { remoteJobs } from '../../libs/agent/remote-jobs.ts';
import type { AgentSession } from '../../libs/agent/session.ts';
import { WatchedFolder } from '../../libs/agent/watched-folder.ts';
import type { CollectProblem } from '../../libs/collect/collector.ts';
import { catalogueRoutes } from '../../libs/contracts/api/control.ts';
import type { BackupView } from '../../libs/contracts/api/control-views.ts';
import { bytesOfJson } from '../../libs/contracts/api/wire.ts';
import { pagesOf } from '../../libs/http/pages.ts';
import type { Compression } from '../../libs/model/compression.ts';
import { TmError } from '../../libs/model/errors.ts';
import { bytesToDisplay, joinPath, pathToDisplay } from '../../libs/model/tree-path.ts';
import type { MonitorEvents } from '../../libs/monitor/port.ts';
import type { DueJob } from '../../libs/schedule/job.ts';
import { runJobs } from '../../libs/schedule/job-runner.ts';
import type { Log } from '../../libs/service/log.ts';
import type { Metrics } from '../../libs/service/metrics.ts';

/** Milliseconds until a folder that can't be watched is tried again. */
const RETRY_MS = 10_000;
/** Of one backup, files that are named in the log; there may be millions. */
const NAMED_PROBLEMS = 20;

export interface AgentOptions {
  readonly session: AgentSession;
  readonly home: string;
  readonly sources: readonly string[];
  readonly watched: readonly string[];
  /** Milliseconds between two backups of a watched folder. */
  readonly everyMs: number;
  readonly ledgerFile: (name: string) => string;
  readonly stateFile: (sourceUid: string) => string;
  readonly threads: number;
  readonly compression?: Compression | undefined;
  readonly log: Log;
  readonly metrics: Metrics;
}

/**
 * The agent of a host: watches folders, makes first backups of others, and then whatever jobs it is given, one at a time.
 */
export class Agent {
  readonly #options: AgentOptions;
  readonly #stopping = new AbortController();
  #running: Promise<unknown> = Promise.resolve();
  readonly #watched: WatchedFolder[] = [];

  constructor(options: AgentOptions) {
    this.#options = options;
  }

  start(): void {
    const { watched } = this.#options;
    this.#running = Promise.all([this.#run(), ...watched.map((dir) => this.#watch(dir))]);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    await this.#options.session.close();
  }

  async #run(): Promise<void> {
    const { session, log, sources } = this.#options;
    const { signal } = this.#stopping;
    for (const dir of sources) await this.#first(dir).catch((error) => this.#failed(error, { dir }));
    await runJobs(
      {
        queue: remoteJobs(session.control),
        agent: session.agentId,
        execute: (job, lost) => this.#job(job, lost),
        now: () => new Date(),
        onError: (error) => log.warn({ err: error }, 'jobs'),
      },
      signal,
    );
    log.debug({}, 'no more jobs are taken');
  }

  /** A folder that is not there yet is waited for. */
  async #watch(dir: string): Promise<void> {
    const { home, log } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        const folder = this.#watchedFolder(await checkedRoot(dir, [home]));
        this.#watched.push(folder);
        return await folder.run(signal);
      } catch (error) {
        log.error({ dir, code: codeOf(error), err: error }, 'not watched');
        await sleep(RETRY_MS, undefined, { signal }).catch(() => {});
      }
    }
  }

  #watchedFolder(root: Buffer): WatchedFolder {
    const { session, home, threads, compression, everyMs, ledgerFile, stateFile, metrics } = this.#options;
    const shown = bytesToDisplay(root);
    const folder = new WatchedFolder({
      session,
      rules: { root, excludes: [], oneFileSystem: false, threads, compression, skip: skipped(home) },
      home,
      ledgerFile,
      stateFile,
      everyMs,
      events: watchLog(this.#options.log.child({ root: shown }), metrics),
    });
    metrics.watches(shown, () => folder.status);
    return folder;
  }

  #failed(error: unknown, fields: object): void {
    if (this.#stopping.signal.aborted) return;
    const { log, metrics } = this.#options;
    const code = codeOf(error);
    metrics.backups.inc({ state: 'failed', code });
    log.error({ ...fields, code, err: error }, 'no backup');
  }

  async #job(job: DueJob, signal: AbortSignal): Promise<string> {
    const root = Buffer.from(job.root, 'base64');
    const watched = this.#watched.find((folder) => folder.root.equals(root));
    try {
      return watched ? await askedOf(watched, job, signal) : (await this.#backup(root, job, signal)).id;
    } catch (error) {
      this.#failed(error, { job: job.id });
      throw error;
    }
  }

  /** A folder that was never backed up: a source is made by its first backup. */
  async #first(dir: string): Promise<void> {
    const root = await checkedRoot(dir, [this.#options.home]);
    if (await this.#isKnown(root)) return;
    await this.#backup(root, undefined, this.#stopping.signal);
  }

  async #isKnown(root: Buffer): Promise<boolean> {
    const { control } = this.#options.session;
    const call = (query: { limit: number }) => control.call(catalogueRoutes.listSources, { query });
    for await (const { sources } of pagesOf(call))
      if (sources.some((one) => one.head > 0 && bytesOfJson(one.root).equals(root))) return true;
    return false;
  }

  async #backup(given: Buffer, job: DueJob | undefined, signal: AbortSignal): Promise<BackupView> {
    const { session, home, threads, compression, metrics } = this.#options;
    const root = await checkedRoot(given, [home]);
    const started = performance.now();
    let log = this.#options.log.child({ root: bytesToDisplay(root), ...(job && { job: job.id }) });
    const problems = problemLog((problem) => {
      const path = pathToDisplay(joinPath(problem.dir, problem.name));
      log.warn({ code: `TM${problem.code}`, path }, problem.message);
    });
    const backup = await session.backup({
      root,
      kind: job?.kind,
      tags: job?.tags ?? {},
      excludes: job?.excludes ?? [],
      oneFileSystem: job?.oneFileSystem === true,
      acceptRoot: job?.acceptRoot === true,
      threads,
      compression,
      skip: skipped(home),
      signal,
      onOpened: ({ backup: { id, label, kind } }) => {
        log = log.child({ backup: id, label });
        log.info({ kind }, 'backup opened');
      },
      onProblem: problems,
      onProgress: () => {},
    });
    metrics.backups.inc({ state: 'committed', code: '' });
    const seconds = Math.round(performance.now() - started) / 1000;
    log.info({ seconds, counts: backup.counts }, 'backup committed');
    return backup;
  }
}

const codeOf = (error: unknown): string => (error instanceof TmError ? error.code : 'TM1099');

const skipped = (home: string) => [identify(home)].filter((one) => one !== undefined);

/** Who watches a folder makes its other backups too: it knows what has changed. */
async function askedOf(folder: WatchedFolder, job: DueJob, signal: AbortSignal): Promise<string> {
  const { kind, tags, acceptRoot } = job;
  const { backup } = await folder.ask({
    kind,
    tags,
    excludes: undefined, // what the watch would take in again a moment later
    oneFileSystem: undefined,
    acceptRoot: acceptRoot === true,
    onProblem: () => {},
    onProgress: () => {},
    signal,
  });
  return backup.id;
}

function watchLog(log: Log, metrics: Metrics): MonitorEvents {
  return {
    watching: (by, reason) => log.info({ by, reason }, 'watching'),
    committed({ backup: { id, label, kind, counts } }, why, gaps) {
      metrics.backups.inc({ state: 'committed', code: '' });
      log.info({ backup: id, label, kind, why, gaps, counts }, 'backup committed');
    },
    gap: ({ gap, reason }, state) => log.warn({ gap, reason }, `gap ${state}`),
    problem({ code, dir, name, message }) {
      log.warn({ code: `TM${code}`, path: pathToDisplay(joinPath(dir, name)) }, message);
    },
    failed(error, retryMs) {
      metrics.backups.inc({ state: 'failed', code: codeOf(error) });
      log.error({ code: codeOf(error), retryMs, err: error }, 'the watch goes on, and tries again');
    },
  };
}

function problemLog(tell: (problem: CollectProblem) => void): (problem: CollectProblem) => void {
  let told = 0;
  return (problem) => {
    if (told++ < NAMED_PROBLEMS) tell(problem);
  };
}
