import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
/** Small and quick to start rather than fast. */
const JVM = '-Xms64m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Xss256k'.split(' ');
const HOST = '127.0.0.1';

export interface NodePorts {
  readonly client: number;
  readonly internal: number;
  readonly controller: number;
}

export interface ClusterPlan {
  readonly id: string;
  readonly folder: string;
  readonly jars: string;
  readonly ports: readonly NodePorts[];
  readonly directoryIds: readonly string[];
  /** Properties of the CLIENT listener beyond its address; without any it is PLAINTEXT. */
  readonly security: Readonly<Record<string, string>> | undefined;
  /** Of `StorageTool format`, as it takes them. */
  readonly scram: readonly string[];
}

/** Kafka's own form of a UUID. */
export const kafkaUuid = (): string => {
  const bytes = randomBytes(16);
  bytes[0] = bytes[0]! & 0x7f; // an id must not begin with '-'
  return bytes.toString('base64url');
};

function properties(plan: ClusterPlan, index: number): string {
  const own = plan.ports[index]!;
  const quorum = Math.min(3, plan.ports.length);
  const listeners = `CLIENT://${HOST}:${own.client},INTERNAL://${HOST}:${own.internal}`;
  const all: Record<string, string | number> = {
    'process.roles': 'broker,controller',
    'node.id': index + 1,
    'log.dirs': join(plan.folder, `node-${index + 1}`),
    listeners: `${listeners},CONTROLLER://${HOST}:${own.controller}`,
    'advertised.listeners': listeners,
    'listener.security.protocol.map': `CLIENT:${plan.security ? 'SASL_SSL' : 'PLAINTEXT'},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT`,
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'INTERNAL',
    'controller.quorum.bootstrap.servers': plan.ports
      .map(({ controller }) => `${HOST}:${controller}`)
      .join(','),
    'auto.create.topics.enable': 'false',
    'offsets.topic.replication.factor': quorum,
    'offsets.topic.num.partitions': 4,
    'transaction.state.log.replication.factor': quorum,
    'transaction.state.log.min.isr': 1,
    'transaction.state.log.num.partitions': 4,
    'share.coordinator.state.topic.replication.factor': 1,
    'share.coordinator.state.topic.min.isr': 1,
    'share.coordinator.state.topic.num.partitions': 4,
    'group.initial.rebalance.delay.ms': 0,
    'group.min.session.timeout.ms': 1000,
    'log.cleaner.enable': 'false',
    'log.segment.bytes': 67_108_864,
    'broker.session.timeout.ms': 3000,
    'broker.heartbeat.interval.ms': 500,
    'controller.quorum.election.timeout.ms': 500,
    'controller.quorum.fetch.timeout.ms': 1000,
    ...plan.security,
  };
  return Object.entries(all)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');
}

/** One broker (and controller) as a process. */
export class KafkaNode {
  readonly #plan: ClusterPlan;
  readonly #index: number;
  readonly #config: string;
  readonly #output: string;
  #child: ChildProcess | undefined;

  constructor(plan: ClusterPlan, index: number) {
    this.#plan = plan;
    this.#index = index;
    this.#config = join(plan.folder, `node-${index + 1}.properties`);
    this.#output = join(plan.folder, `node-${index + 1}.output`);
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  #java(program: string): string[] {
    return [...JVM, '-cp', join(this.#plan.jars, '*'), program];
  }

  async format(): Promise<void> {
    const { id, ports, directoryIds, scram } = this.#plan;
    writeFileSync(this.#config, properties(this.#plan, this.#index));
    const members = ports.map(({ controller }, i) => `${i + 1}@${HOST}:${controller}:${directoryIds[i]}`);
    const quorum = ports.length === 1 ? ['--standalone'] : ['--initial-controllers', members.join(',')];
    const users = scram.flatMap((user) => ['--add-scram', user]);
    const args = ['format', ...quorum, ...users, '-t', id, '-c', this.#config];
    await run('java', [...this.#java('kafka.tools.StorageTool'), ...args]);
  }

  start(): void {
    const output = openSync(this.#output, 'a');
    const args = [...this.#java('kafka.Kafka'), this.#config];
    this.#child = spawn('java', args, { stdio: ['ignore', output, output] });
  }

  /** Resolves when the process is gone. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await gone;
  }

  /** Why it is not there any more; undefined while it is. */
  failure(): string | undefined {
    const child = this.#child;
    if (child && child.exitCode === null && child.signalCode === null) return undefined;
    return `node ${this.#index + 1} ended: ${readFileSync(this.#output, 'utf8').slice(-2000)}`;
  }
}
