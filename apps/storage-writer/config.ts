import { z } from 'zod';
import { COMMON, KAFKA_CONSUMER, REGISTRY, STORE } from '../../libs/service/config.ts';
import { ADMIN_TOKEN } from '../../libs/service/config-control.ts';

const MIB = 1024 * 1024;

export const STORAGE_WRITER = {
  ...COMMON,
  ...REGISTRY,
  ...STORE,
  ...KAFKA_CONSUMER,
  ...ADMIN_TOKEN,
  TIDEMARK_UPLOAD_MEMORY: z.coerce
    .number()
    .int()
    .min(64, 'expected 64 or more MiB')
    .default(256)
    .transform((mib) => mib * MIB)
    .describe('MiB of uploads that are held in memory at once; more are asked to come again (default 256)'),
};
