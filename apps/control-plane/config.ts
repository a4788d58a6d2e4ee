import { z } from 'zod';
import { COMMON, configList, KAFKA, KAFKA_CONSUMER, REGISTRY, STORE } from '../../libs/service/config.ts';
import { ADMIN_TOKEN, DEFAULT_POLICY, RECIPIENTS, TOPICS } from '../../libs/service/config-control.ts';

const url = z.url({ protocol: /^https?$/ });

/** What the control plane needs to decide; `serve` has it all by itself. */
export const CONTROL_PLANE = {
  ...COMMON,
  ...REGISTRY,
  ...STORE,
  ...KAFKA_CONSUMER,
  TIDEMARK_WRITERS: configList('URLs', url).describe(
    'URLs under which agents and clients reach the storage writers',
  ),
  TIDEMARK_RECIPIENTS: RECIPIENTS,
  TIDEMARK_LEASE: z.coerce
    .number()
    .int()
    .min(10, 'expected 10 or more seconds')
    .max(3600, 'expected 3600 seconds or less')
    .default(60)
    .describe(
      'seconds of silence after which the agent of an open backup is taken for gone, and the backup fails',
    ),
  ...ADMIN_TOKEN,
  ...DEFAULT_POLICY,
};

export const SETUP = {
  LOG_LEVEL: COMMON.LOG_LEVEL,
  ...REGISTRY,
  ...STORE,
  ...KAFKA,
  ...TOPICS,
};
