import { setTimeout as sleep } from 'node:timers/promises';
import { agentKafka } from '../../libs/agent/compose-publisher.ts';
import { type Credentials, enrol, loadCredentials } from '../../libs/agent/credentials.ts';
import { AgentSession } from '../../libs/agent/session.ts';
import { Home } from '../../libs/embedded/home.ts';
import { TmError } from '../../libs/model/errors.ts';
import { countersOf, kafkaConnection } from '../../libs/service/compose-kafka.ts';
import { listenOf, readConfig } from '../../libs/service/config.ts';
import type { Log } from '../../libs/service/log.ts';
import { Metrics } from '../../libs/service/metrics.ts';
import { type RunningService, startService } from '../../libs/service/run-service.ts';
import { Agent } from './agent.ts';
import { FS_MONITOR_AGENT } from './config.ts';

/** Milliseconds between two tries to sign on. */
const PAUSE_MS = 3000;

/** Needs no credential but its own token: neither store nor registry. */
export async function startFsMonitorAgent(env: NodeJS.ProcessEnv, log: Log): Promise<RunningService> {
  const config = readConfig(FS_MONITOR_AGENT, env);
  log.level = config.LOG_LEVEL;
  const metrics = new Metrics();
  const home = await Home.open(config.TIDEMARK_HOME);
  const brokers = config.TIDEMARK_KAFKA_BROKERS;
  const kafka =
    brokers &&
    agentKafka(
      kafkaConnection({ ...config, TIDEMARK_KAFKA_BROKERS: brokers }, 'tidemark-agent', log),
      config.TIDEMARK_KAFKA_TOPIC_PREFIX,
      countersOf(metrics),
    );
  let session: AgentSession | undefined;
  let agent: Agent | undefined;
  const checkSession = async () => {
    if (!session) throw new Error('not signed on yet');
    await session.check();
  };
  const service = await startService({
    name: 'fs-monitor-agent',
    modules: [],
    listen: listenOf(config.TIDEMARK_LISTEN),
    log,
    metrics,
    parts: {
      dependencies: [
        { name: 'control-plane', check: checkSession },
        ...(kafka ? [{ name: 'kafka', check: () => kafka.check() }] : []),
      ],
      async close() {
        await agent?.stop();
        await kafka?.close();
      },
    },
  });
  const signOn = async () =>
    AgentSession.signOn({
      credentials: await credentialsOf(config, home.path),
      stateFile: (uid) => home.stateFile(uid),
      ...(kafka && { publisher: kafka.publisher }),
    });
  try {
    session = await patiently(log, signOn);
    agent = new Agent({
      session,
      home: home.path,
      sources: config.TIDEMARK_SOURCES,
      watched: config.TIDEMARK_WATCH,
      everyMs: config.TIDEMARK_WATCH_EVERY,
      ledgerFile: (name) => home.ledgerFile(name),
      stateFile: (uid) => home.stateFile(uid),
      threads: config.TIDEMARK_THREADS,
      compression: config.TIDEMARK_COMPRESSION,
      log,
      metrics,
    });
    agent.start();
    return service;
  } catch (error) {
    await service.stop();
    throw error;
  }
}

async function credentialsOf(
  config: { TIDEMARK_SERVER: string; TIDEMARK_ENROL_TOKEN?: string | undefined; TIDEMARK_AGENT_NAME: string },
  home: string,
): Promise<Credentials> {
  const known = await loadCredentials(home);
  if (known) return { ...known, server: config.TIDEMARK_SERVER };
  const token = config.TIDEMARK_ENROL_TOKEN;
  if (token === undefined)
    throw new TmError(
      'TM1002',
      'TIDEMARK_ENROL_TOKEN: it has to be set, since this home holds no credentials',
    );
  return enrol({ home, server: config.TIDEMARK_SERVER, token, name: config.TIDEMARK_AGENT_NAME });
}

/** The services may come up after the agent, or a predecessor's time may have to lapse. */
async function patiently<T>(log: Log, work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof TmError && ['TM1803', 'TM1805', 'TM1808'].includes(error.code))) throw error;
      log.warn({ code: error.code }, error.message);
      await sleep(PAUSE_MS);
    }
  }
}
