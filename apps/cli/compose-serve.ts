import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { recipientOf } from '../../libs/blocks/keys.ts';
import { ChangeEvents } from '../../libs/calculate/change-events.ts';
import { markServed } from '../../libs/cell/open-cell.ts';
import type { CommitMessage } from '../../libs/contracts/messages.ts';
import { ControlPlane } from '../../libs/control/control-plane.ts';
import { readIdentity } from '../../libs/embedded/domain-files.ts';
import { Engine } from '../../libs/embedded/engine.ts';
import { createSecret, type Home, readSecret } from '../../libs/embedded/home.ts';
import { type OwnJobsOptions, runOwnJobs } from '../../libs/embedded/run-own-jobs.ts';
import { TmError } from '../../libs/model/errors.ts';
import { bytesToDisplay, joinPath, pathToDisplay } from '../../libs/model/tree-path.ts';
import type { DueJob } from '../../libs/schedule/job.ts';
import { type RunningScheduler, startScheduler } from '../../libs/schedule/start-scheduler.ts';
import { cellDependencies } from '../../libs/service/compose-cell.ts';
import { failPoisoned, kafkaConnection, openKafka } from '../../libs/service/compose-kafka.ts';
import type { Dependency } from '../../libs/service/health.ts';
import type { Log } from '../../libs/service/log.ts';
import { Metrics } from '../../libs/service/metrics.ts';
import { die, startService } from '../../libs/service/run-service.ts';
import { DirectTransport } from '../../libs/transport/direct.ts';
import { ensureTopics } from '../../libs/transport/kafka/topics.ts';
import type { Transport } from '../../libs/transport/port.ts';
import { ControlPlaneModule } from '../control-plane/control-plane.module.ts';
import { DeltaCalculatorModule } from '../delta-calculator/delta-calculator.module.ts';
import { StorageWriterModule } from '../storage-writer/storage-writer.module.ts';
import { makeStorageWriter } from '../storage-writer/storage-writer.ts';
import type { ServeConfig } from './serve-config.ts';
import type { Settings } from './settings.ts';

/** Between two looks at what is due: policies are set beside this process, which is not told. */
const LOOK_MS = 5000;

export interface ServeParts {
  readonly config: ServeConfig;
  readonly log: Log;
  readonly onStatus: (text: string) => void;
  readonly onEvent: (event: CommitMessage) => void;
}

export interface Served {
  /** Where it listens, and under which URL others reach it. */
  readonly listens: string;
  readonly url: string;
  /** Undefined where the token was given. */
  readonly adminTokenFile: string | undefined;
  readonly store: string;
  readonly stop: () => Promise<void>;
}

interface OpenedTransport {
  readonly transport: Transport;
  readonly dependencies: readonly Dependency[];
}

/** All services over one engine: control plane, calculator, writer, scheduler, and the jobs of this host's own folders. */
export async function startServe(settings: Settings, parts: ServeParts): Promise<Served> {
  const { config, log, onStatus } = parts;
  await using opening = new AsyncDisposableStack();
  const engine = await Engine.open({ ...settings, create: true, onStatus });
  opening.defer(() => engine.close());
  await markServed(engine.registry);
  process.on('unhandledRejection', (error) => die(log, error));
  const admin = await adminTokenOf(engine.home, config.TIDEMARK_ADMIN_TOKEN);
  const recipients = config.TIDEMARK_RECIPIENTS ?? (await ownRecipients(engine, settings, log));
  const { stop, ...started } = await startScheduler({
    registry: engine.registry,
    connection: engine.connection,
    onError: (error) => log.warn({ err: error }, 'scheduler'),
    defaultPolicy: config.TIDEMARK_DEFAULT_POLICY,
    intervalMs: LOOK_MS,
  });
  const scheduler = { ...started, stop: once(stop) };
  opening.defer(scheduler.stop);
  const writers: string[] = [];
  const control = new ControlPlane({
    cell: engine,
    queue: scheduler.queue,
    recipients,
    writers,
    adminToken: admin.token,
    defaultPolicy: config.TIDEMARK_DEFAULT_POLICY,
    onSchedule: scheduler.notify,
    onError: (error) => log.warn({ err: error }, 'beside requests'),
  });
  opening.defer(() => control.stop());
  const ownJobs = ownJobsOf(engine, scheduler, settings, log);
  const service = await startAll(engine, { ...parts, control, scheduler, ownJobs });
  ownJobs.start();
  const rest = opening.move();
  const url = config.TIDEMARK_URL ?? urlOf(service.url, config.listen.host);
  writers.push(url);
  return {
    listens: service.url,
    url,
    adminTokenFile: admin.file,
    store: engine.store.url,
    async stop() {
      await service.stop();
      await rest.disposeAsync();
    },
  };
}

function once<T>(work: () => Promise<T>): () => Promise<T> {
  let done: Promise<T> | undefined;
  return () => (done ??= work());
}

interface AllParts extends ServeParts {
  readonly control: ControlPlane;
  readonly scheduler: RunningScheduler;
  readonly ownJobs: OwnJobs;
}

interface OwnJobs {
  start(): void;
  /** The backup under way is given up, and its job is tried again later. */
  stop(): Promise<void>;
}

async function startAll(engine: Engine, parts: AllParts) {
  const { config, log, control, scheduler, ownJobs, onEvent } = parts;
  const { registry } = engine;
  const metrics = new Metrics();
  const { transport, dependencies } = await openTransport(engine, config, metrics, log);
  const changeEvents = new ChangeEvents(registry, (messages) => transport.publish('delta-sets', messages));
  const writer = makeStorageWriter(engine, transport, { log, metrics });
  const onCommits = (events: readonly CommitMessage[]) => {
    scheduler.notify();
    events.forEach(onEvent);
  };
  return startService({
    name: 'serve',
    modules: [
      ControlPlaneModule.of(onCommits),
      DeltaCalculatorModule.of(changeEvents),
      StorageWriterModule.of(writer.deltaSets),
    ],
    listen: config.listen,
    log,
    metrics,
    parts: {
      transport,
      bindings: [...control.routes(), ...writer.bindings],
      authenticator: control.authenticator,
      dependencies: [...cellDependencies(engine), ...dependencies],
      async start() {
        control.start();
        writer.outbox.start();
      },
      async endWaits() {
        await Promise.all([ownJobs.stop(), control.stop(), writer.outbox.close()]);
        await scheduler.stop();
      },
      close: async () => {}, // what is open is its opener's
    },
  });
}

/** Real Kafka where brokers are named, with its topics made; else this process. */
async function openTransport(
  { registry }: Engine,
  config: ServeConfig,
  metrics: Metrics,
  log: Log,
): Promise<OpenedTransport> {
  const brokers = config.TIDEMARK_KAFKA_BROKERS;
  if (!brokers)
    return {
      transport: new DirectTransport({ onPoison: failPoisoned({ registry, metrics, log }) }),
      dependencies: [],
    };
  const kafka = { ...config, TIDEMARK_KAFKA_BROKERS: brokers };
  await ensureTopics(kafkaConnection(kafka, 'tidemark-setup', log), {
    topicPrefix: config.TIDEMARK_KAFKA_TOPIC_PREFIX,
    partitions: config.TIDEMARK_KAFKA_PARTITIONS,
    replication: config.TIDEMARK_KAFKA_REPLICATION,
  });
  const transport = openKafka(kafka, { name: 'serve', registry, metrics, log });
  const topics = ['change-events', 'delta-sets', 'commits'] as const;
  return { transport, dependencies: [{ name: 'kafka', check: () => transport.check(topics) }] };
}

function ownJobsOf(
  engine: Engine,
  { queue, notify }: RunningScheduler,
  { threads, compression }: Settings,
  log: Log,
): OwnJobs {
  const stopping = new AbortController();
  const fields = (job: DueJob) => ({ job: job.id, root: bytesToDisplay(Buffer.from(job.root, 'base64')) });
  const options: OwnJobsOptions = {
    queue,
    threads,
    compression,
    onJob: (job) => log.info({ ...fields(job), kind: job.kind, reason: job.reason }, 'a backup is due'),
    onFailed(job, error) {
      if (stopping.signal.aborted) return;
      log.error({ ...fields(job), code: codeOf(error), err: error }, 'no backup');
      notify();
    },
    onProblem(job, { code, dir, name, message }) {
      const path = pathToDisplay(joinPath(dir, name));
      log.warn({ ...fields(job), code: `TM${code}`, path }, message);
    },
    onError: (error) => log.warn({ err: error }, 'jobs'),
  };
  let running = Promise.resolve();
  return {
    start() {
      running = runOwnJobs(engine, options, stopping.signal);
    },
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

const codeOf = (error: unknown): string => (error instanceof TmError ? error.code : 'TM1099');

/** The one that is given, or the home's own, made once. */
async function adminTokenOf(
  home: Home,
  given: string | undefined,
): Promise<{ readonly token: string; readonly file: string | undefined }> {
  if (given !== undefined) return { token: given, file: undefined };
  const file = join(home.path, 'admin-token');
  await createSecret(file, `${randomBytes(32).toString('base64url')}\n`);
  return { token: (await readSecret(file)).toString().trim(), file };
}

/** Whoever has this home's identity can restore what agents back up. Without one no agent can enrol (TM1002). */
async function ownRecipients({ home }: Engine, settings: Settings, log: Log): Promise<string[]> {
  try {
    return [await recipientOf(await readIdentity(home, settings))];
  } catch (error) {
    if (!(error instanceof TmError)) throw error;
    const way = 'no agent can enrol: set TIDEMARK_RECIPIENTS, or give the identity';
    log.warn({ code: error.code, err: error }, way);
    return [];
  }
}

/** A server that listens on all addresses is reached under the host's name. */
const urlOf = (url: string, host: string): string =>
  host === '0.0.0.0' || host === '::' ? `http://${hostname()}:${new URL(url).port}` : url;
