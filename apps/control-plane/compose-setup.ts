import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setUpCell } from '../../libs/cell/open-cell.ts';
import { makeToken, parseToken } from '../../libs/control/tokens.ts';
import { writeSecret } from '../../libs/embedded/home.ts';
import type { Registry } from '../../libs/registry/port.ts';
import { openPostgresRegistry } from '../../libs/registry/postgres/open-postgres-registry.ts';
import { cellConfig } from '../../libs/service/compose-cell.ts';
import { kafkaConnection } from '../../libs/service/compose-kafka.ts';
import { readConfig } from '../../libs/service/config.ts';
import type { Log } from '../../libs/service/log.ts';
import { ensureTopics } from '../../libs/transport/kafka/topics.ts';
import { SETUP } from './config.ts';

const DAY_SECONDS = 86_400;

export interface SetupOptions {
  /** Files that get a token: for enrolment, good for a day and one agent; for reading, until it is revoked. */
  readonly tokenFiles: Readonly<Record<'enrol' | 'reader', string | undefined>>;
}

/** Makes tables, store and topics where they are missing, and says what differs where they are not. Any number of times. */
export async function setUp(env: NodeJS.ProcessEnv, log: Log, options: SetupOptions): Promise<void> {
  const config = readConfig(SETUP, env);
  log.level = config.LOG_LEVEL;
  const registryUrl = config.TIDEMARK_REGISTRY_URL;
  const { storeId } = await setUpCell(cellConfig(config, log));
  log.info({ store: storeId }, 'registry and store are there');
  await ensureTopics(kafkaConnection(config, 'tidemark-setup', log), {
    topicPrefix: config.TIDEMARK_KAFKA_TOPIC_PREFIX,
    partitions: config.TIDEMARK_KAFKA_PARTITIONS,
    replication: config.TIDEMARK_KAFKA_REPLICATION,
  });
  log.info({ partitions: config.TIDEMARK_KAFKA_PARTITIONS }, 'topics are there');
  for (const kind of ['enrol', 'reader'] as const) {
    const file = options.tokenFiles[kind];
    if (file !== undefined) await writeToken(registryUrl, kind, file);
  }
}

/** Setting up again leaves a token that still is of use. */
async function isStillGood({ access }: Registry, file: string): Promise<boolean> {
  const text = await readFile(file, 'utf8').catch(() => '');
  const token = parseToken(text.trim());
  return token !== undefined && (await access.findToken(token.id))?.state === 'valid';
}

async function writeToken(registryUrl: string, kind: 'enrol' | 'reader', file: string): Promise<void> {
  const registry = await openPostgresRegistry({ connection: registryUrl });
  try {
    if (await isStillGood(registry, file)) return;
    const id = randomUUID();
    const { text, hash } = makeToken(kind, id);
    const seconds = kind === 'enrol' ? DAY_SECONDS : undefined;
    await registry.access.createToken({ id, kind, hash, name: 'made by setup', seconds });
    await writeSecret(file, `${text}\n`);
  } finally {
    await registry.close();
  }
}
