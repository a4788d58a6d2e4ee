import { z } from 'zod';
import { COMMON, KAFKA_CONSUMER, KAFKA_OR_NONE, listenOf, readConfig } from '../../libs/service/config.ts';
import { ADMIN_TOKEN, DEFAULT_POLICY, RECIPIENTS, TOPICS } from '../../libs/service/config-control.ts';

const FILE_SUFFIX = '_FILE';

/** What `serve` reads beside the command's settings; options.ts names the variables for `doctor`. */
export const SERVE = {
  TIDEMARK_LISTEN: COMMON.TIDEMARK_LISTEN.default('127.0.0.1:7337').describe(
    'where it listens, HOST:PORT (`serve`: --listen, else 127.0.0.1:7337)',
  ),
  TIDEMARK_URL: z
    .url({ protocol: /^https?$/ })
    .transform((url) => url.replace(/\/+$/, ''))
    .optional()
    .describe('`serve`: URL under which other hosts reach it (--url; else made of where it listens)'),
  LOG_LEVEL: COMMON.LOG_LEVEL.default('warn'),
  TIDEMARK_RECIPIENTS: RECIPIENTS.optional(),
  ...ADMIN_TOKEN,
  ...DEFAULT_POLICY,
  ...KAFKA_CONSUMER,
  ...KAFKA_OR_NONE,
  ...TOPICS,
};

export type ServeConfig = ReturnType<typeof readServeConfig>;

/** Options win over variables. Other variables of ours are the command's settings. */
export function readServeConfig(
  given: { readonly listen?: string; readonly url?: string },
  env: NodeJS.ProcessEnv,
) {
  const own = Object.entries(env).filter(([name]) => name.replace(/_FILE$/, '') in SERVE);
  const options = {
    ...(given.listen !== undefined && optionOver('TIDEMARK_LISTEN', given.listen)),
    ...(given.url !== undefined && optionOver('TIDEMARK_URL', given.url)),
  };
  const config = readConfig(SERVE, { ...Object.fromEntries(own), ...options });
  return { ...config, listen: listenOf(config.TIDEMARK_LISTEN) };
}

const optionOver = (name: string, value: string) => ({ [name]: value, [name + FILE_SUFFIX]: undefined });
