import { hostname } from 'node:os';
import { z } from 'zod';
import { COMPRESSIONS } from '../../libs/model/compression.ts';
import { parseShortSpan } from '../../libs/model/short-span.ts';
import { COMMON, KAFKA_OR_NONE } from '../../libs/service/config.ts';

export const FS_MONITOR_AGENT = {
  ...COMMON,
  /** Without brokers, change events go over the storage writers. */
  ...KAFKA_OR_NONE,
  TIDEMARK_SERVER: z.url({ protocol: /^https?$/ }).describe('URL of the control plane'),
  TIDEMARK_HOME: z
    .string()
    .startsWith('/', 'expected an absolute path')
    .describe("the agent's folder: credentials, and each source's last known state"),
  TIDEMARK_ENROL_TOKEN: z.string().optional().describe('used once, while the home holds no credentials'),
  TIDEMARK_AGENT_NAME: z
    .string()
    .min(1)
    .max(255)
    .default(hostname())
    .describe("its name, the host's by default"),
  TIDEMARK_SOURCES: z
    .string()
    .transform((text) => text.split(':').filter((path) => path !== ''))
    .pipe(z.array(z.string().startsWith('/', 'expected absolute paths')))
    .default([])
    .describe(
      "folders, with ':' between them, that get their first backup when the agent starts; what follows is the scheduler's",
    ),
  TIDEMARK_WATCH: z
    .string()
    .transform((text) => text.split(':').filter((path) => path !== ''))
    .pipe(z.array(z.string().startsWith('/', 'expected absolute paths')))
    .default([])
    .describe(
      "folders, with ':' between them, that are watched: what changes in them is backed up as it changes, but for what their policies and .tidemarkignore files leave out",
    ),
  TIDEMARK_WATCH_EVERY: z
    .string()
    .default('5s')
    .transform((text, context) => {
      const ms = parseShortSpan(text);
      if (ms === undefined) context.addIssue('expected a span such as 500ms, 5s or 2min');
      return ms ?? 0;
    })
    .describe('between two backups of a watched folder, at least; a policy of the folder has precedence'),
  TIDEMARK_THREADS: z.coerce.number().int().min(1).max(64).default(2).describe('worker threads'),
  TIDEMARK_COMPRESSION: z
    .enum(COMPRESSIONS)
    .default('fast')
    .describe('of new blocks: off, fast, or better (smaller, for about half as much work again)'),
};
