import { randomUUID } from 'node:crypto';
import { backupOfView } from '../agent/backup-view.ts';
import { catalogueRoutes, scheduleRoutes as routes } from '../contracts/api/control.ts';
import type { BackupView } from '../contracts/api/control-views.ts';
import { bytesOfJson } from '../contracts/api/wire.ts';
import { type ClientWorld, HttpClient, REAL_WORLD } from '../http/client.ts';
import { pagesOf } from '../http/pages.ts';
import type { BackupInfo } from '../model/backup.ts';
import { ERRORS, type ErrorCode, TmError } from '../model/errors.ts';
import type { BackupKind } from '../model/label.ts';
import { bytesToJson, fromSlashes, type TreePath } from '../model/tree-path.ts';
import type { ServerAccess } from './server-connection.ts';

/** Milliseconds in which an agent that makes no backup has taken the job, or never will. */
const TAKEN_MS = 30_000;
/** Milliseconds between two looks at the job: first, and at most. */
const FIRST_LOOK_MS = 200;
const LONGEST_LOOK_MS = 3000;
/** Milliseconds in which the server may be away while the agent works. */
const PATIENCE = 600_000;
/** Milliseconds that calling the job off may take: an interrupt is answered within ten seconds. */
const CANCEL_MS = 4000;

export interface AskedBackup {
  /** Canonical, absolute. */
  readonly root: Buffer;
  readonly kind: BackupKind | undefined;
  readonly tags: Readonly<Record<string, string>>;
  readonly excludes: readonly string[];
  readonly oneFileSystem: boolean;
  readonly acceptRoot: boolean;
  /** What could not be read, once the backup is there. */
  readonly onProblem: (code: ErrorCode, path: TreePath) => void;
  readonly onStatus: (text: string) => void;
  readonly signal: AbortSignal;
}

export interface MadeBackup {
  readonly backup: BackupInfo;
  /** Label of what a differential depends on. */
  readonly baseline: string | null;
}

/**
 * Has the running agent of this host make a backup, and follows it to its end. Undefined: the agent has gone meanwhile
 * and nothing is under way, so that the caller may take its place. An interrupt calls the job off. Throws TM1803 where
 * the process that uses the identity takes no job, else what the backup failed with.
 */
export async function askAgent(
  access: ServerAccess,
  asked: AskedBackup,
  world: ClientWorld = REAL_WORLD,
): Promise<MadeBackup | undefined> {
  mustBeText([...asked.excludes, ...Object.entries(asked.tags).flat()]);
  const control = new HttpClient({ ...access, world });
  const id = randomUUID();
  try {
    return await new Following(control, id, asked, world).result();
  } catch (error) {
    if (asked.signal.aborted) await callOff(control, id, asked.onStatus);
    throw error;
  } finally {
    control.close();
  }
}

/** As the queue keeps them. */
function mustBeText(texts: readonly string[]): void {
  if (texts.some((text) => !text.isWellFormed() || text.includes('\0')))
    throw new TmError('TM1001', 'the running agent can be given patterns and tags in UTF-8 only');
}

class Following {
  readonly #control: HttpClient;
  readonly #params: { readonly id: string };
  readonly #asked: AskedBackup;
  readonly #world: ClientWorld;
  #idleSince: number | undefined;
  #told: string | undefined;

  constructor(control: HttpClient, id: string, asked: AskedBackup, world: ClientWorld) {
    this.#control = control;
    this.#params = { id };
    this.#asked = asked;
    this.#world = world;
  }

  async result(): Promise<MadeBackup | undefined> {
    const { root, kind, tags, excludes, oneFileSystem, acceptRoot, signal } = this.#asked;
    const options = { tags, excludes: [...excludes], oneFileSystem, acceptRoot, ...(kind && { kind }) };
    const body = { root: bytesToJson(root), ...options };
    await this.#control.call(routes.askBackup, { params: this.#params, body }, { signal });
    for (let pause = FIRST_LOOK_MS; ; pause = Math.min(pause * 1.5, LONGEST_LOOK_MS)) {
      const { job, agent, made } = await this.#look();
      if (job.state === 'done') return this.#made(made);
      if (job.state === 'failed' && job.failure === 'TM1508') return undefined; // the agent was stopped
      if (job.state === 'failed') throw failureOf(job.failure);
      if (agent !== null && (await this.#isLeft(agent))) return undefined;
      this.#tell(agent);
      await this.#world.sleep(pause, signal).catch(() => {
        throw new TmError('TM1508');
      });
    }
  }

  #look() {
    const { signal } = this.#asked;
    return this.#control.call(routes.getJob, { params: this.#params }, { signal, deadline: PATIENCE });
  }

  /** Nobody will take the job, and it is withdrawn. */
  async #isLeft(agent: 'away' | 'idle' | 'busy'): Promise<boolean> {
    const now = this.#world.now();
    this.#idleSince = agent === 'idle' ? (this.#idleSince ?? now) : undefined;
    const isIgnored = this.#idleSince !== undefined && now - this.#idleSince >= TAKEN_MS;
    if (agent !== 'away' && !isIgnored) return false;
    if (!(await this.#withdraw())) return false; // it has just been taken
    if (agent === 'away') return true;
    const ways = 'if it was killed it is forgotten a minute after its last sign of life';
    const detail = `it is running already and has not taken the backup over within ${TAKEN_MS / 1000} s; ${ways}`;
    throw new TmError('TM1803', detail);
  }

  async #withdraw(): Promise<boolean> {
    const { signal } = this.#asked;
    const input = { params: this.#params, query: { only: 'waiting' as const } };
    return (await this.#control.call(routes.cancelJob, input, { signal })).was === 'waiting';
  }

  async #made(made: { backup: BackupView; baseline: string | null } | null): Promise<MadeBackup> {
    if (!made) throw new TmError('TM1806', 'it does not know the backup that the agent made');
    const { backup, baseline } = made;
    const input = { params: { id: backup.id } };
    const call = (query: { limit: number }) =>
      this.#control.call(catalogueRoutes.listProblems, { ...input, query }, { signal: this.#asked.signal });
    let unnamed = backup.counts?.problems ?? 0;
    for await (const { problems } of pagesOf(call)) {
      for (const { code, path } of problems)
        this.#asked.onProblem(codeOf(code), fromSlashes(bytesOfJson(path)));
      unnamed -= problems.length;
    }
    if (unnamed > 0) this.#asked.onStatus(`${unnamed} more could not be read: the agent's log names them`);
    return { backup: backupOfView(backup, 0), baseline };
  }

  #tell(agent: 'away' | 'idle' | 'busy' | null): void {
    const text =
      agent === null
        ? 'the agent of this host makes it'
        : agent === 'busy'
          ? 'the agent of this host makes another backup first'
          : 'the agent of this host is asked to make it';
    if (text !== this.#told) this.#asked.onStatus(text);
    this.#told = text;
  }
}

const codeOf = (code: string | null): ErrorCode =>
  code !== null && code in ERRORS ? (code as ErrorCode) : 'TM1502';

const failureOf = (code: string | null): TmError =>
  new TmError(codeOf(code), 'as the agent of this host says, which was to make it');

async function callOff(control: HttpClient, id: string, tell: (text: string) => void): Promise<void> {
  try {
    const options = { signal: AbortSignal.timeout(CANCEL_MS) };
    const { was } = await control.call(routes.cancelJob, { params: { id }, query: {} }, options);
    if (was === 'running')
      tell('the agent of this host gives its backup up within seconds, unless that is made by then');
  } catch {
    tell('the server does not answer: the agent of this host may go on with the backup');
  }
}
