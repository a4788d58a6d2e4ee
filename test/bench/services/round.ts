import { randomBytes } from 'node:crypto';
import { appendFileSync, copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { backupRoutes, catalogueRoutes, scheduleRoutes } from '../../../libs/contracts/api/control.ts';
import type { HttpClient } from '../../../libs/http/client.ts';
import type { BackupKind } from '../../../libs/model/label.ts';
import { type ServiceProcess, Stack } from '../../services/stack.ts';
import { limitsOf, type Seconds } from './limits.ts';
import { ProcessWatch, type Usage } from './process-watch.ts';
import { checkRestored, run } from './restored.ts';
import { TopicWatch } from './topic-watch.ts';

const CHANGE_TREE = join(import.meta.dirname, '../change_tree.py');
const WARM_FILES = 3000;
const AGENT = 'bench';

export interface TopicUse {
  readonly messages: number;
  /** Of values, as the service that took them counted; `commits`, which no service takes, as what lies in the log. */
  readonly bytes: number;
  /** Compressed, in the broker's log. */
  readonly storedBytes: number;
}

export interface Operation {
  /** From asking for the backup until its event came out of the topic `commits`. */
  readonly wall: number;
  readonly entries: number;
  /** Entries that were published. */
  readonly changes: number;
  readonly usage: Usage;
  readonly topics: Readonly<Record<string, TopicUse>>;
}

export interface Round {
  readonly limits: { readonly tar: Seconds; readonly find: Seconds };
  readonly operations: Readonly<Record<'full' | 'unchanged' | 'changed', Operation>>;
}

export interface RoundOptions {
  /** A folder of the round's own, and the tree to be copied into it. */
  readonly base: string;
  readonly pristine: string;
  /** The changed tree is restored from the store alone, and compared. */
  readonly compare: boolean;
  /** Where the processes leave their CPU profiles and logs. */
  readonly profiles: string | undefined;
}

/** A stack with one agent, and its backups one after the other. */
class Bench {
  readonly #stack: Stack;
  readonly #topics: TopicWatch;
  readonly #admin: HttpClient;
  readonly #watch: ProcessWatch;
  /** Backups so far, by source. */
  readonly #backups = new Map<string, number>();

  constructor(stack: Stack, topics: TopicWatch, folder: string) {
    this.#stack = stack;
    this.#topics = topics;
    this.#admin = stack.admin();
    const names = () =>
      new Map(stack.services.flatMap(({ app, pid }) => (pid === undefined ? [] : [[pid, app] as const])));
    this.#watch = new ProcessWatch(names, folder);
  }

  async sourceOf(root: string): Promise<string> {
    for (;;) {
      const { sources } = await this.#admin.call(catalogueRoutes.listSources, { query: { limit: 100 } });
      const source = sources.find((one) => one.root === root);
      if (source) return source.id;
      await sleep(50);
    }
  }

  /** The agent's own first backup of a folder. */
  async first(root: string): Promise<void> {
    await this.#committed(await this.sourceOf(root));
  }

  async #committed(source: string): Promise<string> {
    const count = (this.#backups.get(source) ?? 0) + 1;
    this.#backups.set(source, count);
    return this.#topics.committed(source, count);
  }

  async backUp(source: string, kind: BackupKind): Promise<Operation> {
    await this.#idle();
    const before = await this.#volumes();
    this.#watch.start();
    const started = performance.now();
    await this.#admin.call(scheduleRoutes.makeJob, { body: { source, kind } });
    const id = await this.#committed(source);
    const wall = (performance.now() - started) / 1000;
    await this.#idle();
    const usage = this.#watch.stop();
    const after = await this.#volumes();
    const reply = await this.#admin.call(backupRoutes.getBackup, { params: { id }, query: {} });
    const { files, directories, others, added, changed, metadata, deleted } = reply.backup.counts!;
    const entries = files + directories + others;
    const changes = kind === 'full' ? entries : added + changed + metadata + deleted;
    return { wall, entries, changes, usage, topics: difference(before, after) };
  }

  /** The agent has told that its job is done: it waits for the next one. */
  async #idle(): Promise<void> {
    for (;;) {
      const { jobs } = await this.#admin.call(scheduleRoutes.listJobs, { query: { limit: 100 } });
      if (jobs.every(({ state }) => state === 'done')) return;
      if (jobs.some(({ state }) => state === 'failed')) throw new Error('a job failed');
      await sleep(50);
    }
  }

  async #volumes(): Promise<Record<string, TopicUse>> {
    const volumes = await this.#topics.volumes();
    const bytes: Record<string, number> = {
      'change-events': await bytesIn(this.#stack.calculators[0]!, 'change-events'),
      'delta-sets': await bytesIn(this.#stack.writers[0]!, 'delta-sets'),
    };
    return Object.fromEntries(
      Object.entries(volumes).map(([topic, volume]) => [
        topic,
        { ...volume, bytes: bytes[topic] ?? volume.storedBytes },
      ]),
    );
  }

  async close(): Promise<void> {
    this.#admin.close();
    await this.#topics.close();
  }
}

async function bytesIn({ url }: ServiceProcess, topic: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const line = text
    .split('\n')
    .find((one) => one.startsWith(`tidemark_message_bytes_total{topic="${topic}",what="in"}`));
  return Number(line?.split(' ').at(-1) ?? 0);
}

const difference = (before: Record<string, TopicUse>, after: Record<string, TopicUse>) =>
  Object.fromEntries(
    Object.entries(after).map(([topic, now]): [string, TopicUse] => {
      const then = before[topic]!;
      return [
        topic,
        {
          messages: now.messages - then.messages,
          bytes: now.bytes - then.bytes,
          storedBytes: now.storedBytes - then.storedBytes,
        },
      ];
    }),
  );

/** Nothing that the measured tree holds too: that would be stored already. */
function makeWarmFolder(folder: string): void {
  mkdirSync(folder);
  for (let n = 0; n < WARM_FILES; n++)
    writeFileSync(join(folder, `file-${n}`), randomBytes(2000).toString('hex'));
}

/** One full, one unchanged and one changed backup through services that have just made others. */
export async function measureRound(options: RoundOptions): Promise<Round> {
  const { base, pristine, compare, profiles } = options;
  const [warm, tree] = [join(base, 'warm'), join(base, 'tree')];
  makeWarmFolder(warm);
  mkdirSync(tree);
  writeFileSync(join(tree, 'first'), 'there before the rest\n');
  process.env.TMPDIR = base;
  const env = {
    LOG_LEVEL: 'info',
    ...(profiles && { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${profiles} --cpu-prof-interval=500` }),
  };
  const stack = await Stack.start({ env });
  try {
    const topics = await TopicWatch.open(stack.kafka.brokers, join(base, 'tidemark-kafka-*/node-1'));
    const bench = new Bench(stack, topics, base);
    await stack.addAgent(AGENT, { TIDEMARK_SOURCES: `${warm}:${tree}`, ...env });
    for (const root of [warm, tree]) await bench.first(root);
    for (let n = 0; n < WARM_FILES; n += 10) appendFileSync(join(warm, `file-${n}`), 'more');
    const warmSource = await bench.sourceOf(warm);
    for (const kind of ['full', 'differential'] as const) await bench.backUp(warmSource, kind);
    run('cp', '-a', `${pristine}/.`, tree);
    const source = await bench.sourceOf(tree);
    const limits = limitsOf(tree);
    const full = await bench.backUp(source, 'full');
    const unchanged = await bench.backUp(source, 'differential');
    run('python3', CHANGE_TREE, tree, '1');
    const changed = await bench.backUp(source, 'differential');
    await bench.close();
    await Promise.all(stack.services.map((service) => service.stop()));
    if (compare) await checkRestored(stack, base, `${AGENT}:${tree}`, tree);
    return { limits, operations: { full, unchanged, changed } };
  } catch (error) {
    throw new Error(`${error}\n${stack.troubles}`, { cause: error });
  } finally {
    if (profiles)
      for (const { logFile } of stack.services) copyFileSync(logFile, join(profiles, basename(logFile)));
    await stack.close();
  }
}
