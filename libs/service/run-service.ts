import 'reflect-metadata';
import { type DynamicModule, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { type FastifyInstance, LogController } from 'fastify';
import type { Binding } from '../http/binding.ts';
import { openApiOf } from '../http/openapi.ts';
import type { Authenticator } from '../http/principal.ts';
import { BusyError } from '../http/problem.ts';
import { sendProblem } from '../http/send-reply.ts';
import { bindRoutes } from '../http/server.ts';
import { serverOptions } from '../http/server-options.ts';
import { TmError } from '../model/errors.ts';
import { VERSION } from '../model/version.ts';
import type { Transport } from '../transport/port.ts';
import { HealthController, SERVICE_STATE, type ServiceState } from './health.controller.ts';
import type { Dependency } from './health.ts';
import { type Log, nestLogger } from './log.ts';
import { MessageStrategy } from './message-strategy.ts';
import type { Metrics } from './metrics.ts';

/** A service is stopped within this time, in milliseconds; what is not done then comes again elsewhere. */
const STOP_MS = 10_000;

/** What a service's core offers to its shell. */
export interface ServiceParts {
  readonly bindings?: readonly Binding[];
  readonly authenticator?: Authenticator;
  readonly dependencies: readonly Dependency[];
  /** Topics' handlers of the modules are subscribed on it. */
  readonly transport?: Transport;
  /** Begins what runs by itself. */
  start?(): Promise<void>;
  /** At the begin of a stop: ends requests that wait for something to happen. */
  endWaits?(): Promise<void>;
  /** Called when no request and no message is handled any more, or the start failed. */
  close(): Promise<void>;
}

export interface ServiceOptions {
  readonly name: string;
  readonly modules: readonly DynamicModule[];
  readonly parts: ServiceParts;
  readonly listen: { readonly host: string; readonly port: number };
  readonly log: Log;
  readonly metrics: Metrics;
}

export interface RunningService {
  /** Where it listens: the port is the given one, or a free one for 0. */
  readonly url: string;
  /** Resolves when all is closed. */
  stop(): Promise<void>;
}

@Module({})
class RootModule {}

/** Starts a service: HTTP with health, metrics and its routes, and its topics. */
export async function startService(options: ServiceOptions): Promise<RunningService> {
  const { name, modules, parts, listen, log, metrics } = options;
  const bindings = parts.bindings ?? [];
  const openApi = openApiOf(
    bindings.map(({ route }) => route),
    { title: `Tidemark ${name}`, version: VERSION },
  );
  const state: ServiceState = { dependencies: parts.dependencies, metrics, openApi, stopping: false };
  const adapter = new FastifyAdapter({
    ...serverOptions(),
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
  } as never);
  const root: DynamicModule = {
    module: RootModule,
    imports: [...modules],
    controllers: [HealthController],
    providers: [{ provide: SERVICE_STATE, useValue: state }],
  };
  const app = await NestFactory.create<NestFastifyApplication>(root, adapter, {
    logger: nestLogger(log),
    abortOnError: false,
    bodyParser: false,
  });
  if (parts.transport) app.connectMicroservice({ strategy: new MessageStrategy(parts.transport) });
  const fastify = adapter.getInstance() as unknown as FastifyInstance;
  observeRequests(fastify, metrics, log);
  refuseWhenStopping(fastify, state);
  const stop = async () => {
    state.stopping = true;
    await parts.endWaits?.();
    await app.close();
    await parts.close();
  };
  try {
    if (parts.authenticator && bindings.length > 0)
      await bindRoutes(fastify, bindings, { authenticator: parts.authenticator });
    await app.init();
    await parts.start?.();
    await app.startAllMicroservices();
    await app.listen(listen.port, listen.host);
  } catch (error) {
    await stop().catch((failure) => log.warn({ err: failure }, 'while stopping'));
    throw startFailure(error, listen);
  }
  const url = (await app.getUrl()).replace('[::1]', 'localhost');
  log.info({ url }, 'ready');
  return { url, stop };
}

const NO_ADDRESS = new Set(['EADDRINUSE', 'EADDRNOTAVAIL', 'EACCES', 'ENOTFOUND', 'EAI_AGAIN']);

function startFailure(error: unknown, { host, port }: ServiceOptions['listen']): unknown {
  const { code = '', syscall } = error as NodeJS.ErrnoException;
  if (!NO_ADDRESS.has(code) || !['listen', 'bind', 'getaddrinfo'].includes(syscall ?? '')) return error;
  const why = code === 'EADDRINUSE' ? 'another process listens there' : code;
  return new TmError('TM1002', `TIDEMARK_LISTEN: ${host}:${port}: ${why}`, { cause: error });
}

/** Who comes now is told to come again: somebody else may be there then. */
function refuseWhenStopping(fastify: FastifyInstance, state: ServiceState): void {
  fastify.addHook('onRequest', async (request, reply) => {
    if (state.stopping && !request.url.startsWith('/health/'))
      await sendProblem(request, reply, new BusyError(503, 1, 'the service is about to stop'));
  });
}

function observeRequests(fastify: FastifyInstance, metrics: Metrics, log: Log): void {
  fastify.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'unknown';
    const { method } = request;
    const status = String(reply.statusCode);
    metrics.requests.observe({ method, route, status }, reply.elapsedTime / 1000);
    log.debug({ method, url: request.url, status, ms: Math.round(reply.elapsedTime) }, 'request');
  });
}

/** Runs a service until a signal: an orderly stop within ten seconds, else the process ends all the same. */
export async function runService(name: string, log: Log, open: () => Promise<RunningService>): Promise<void> {
  let service: RunningService | undefined;
  const stop = async (signal: string) => {
    log.info({ signal }, 'stopping');
    setTimeout(() => {
      log.error({}, 'not stopped in time');
      process.exit(1);
    }, STOP_MS - 500).unref();
    await service?.stop().catch((error) => log.error({ err: error }, 'while stopping'));
    log.info({}, 'stopped');
    process.exit(0);
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void stop(signal));
  process.on('unhandledRejection', (error) => die(log, error));
  process.on('uncaughtException', (error) => die(log, error));
  try {
    service = await open();
  } catch (error) {
    log.error(
      { err: error, ...(error instanceof TmError && { code: error.code, guidance: error.spec.guidance }) },
      `${name} does not start`,
    );
    process.exit(error instanceof TmError ? error.spec.exit : 1);
  }
}

/** Of a process whose state is unknown: it ends at once, and an orchestrator starts another. */
export function die(log: Log, error: unknown): never {
  log.fatal({ err: error }, 'ended by an error');
  process.exit(1);
}
