import { z } from 'zod';
import { isRecipient } from '../blocks/recipient.ts';
import { parsePolicyText } from '../schedule/policy-options.ts';
import { configList } from './config.ts';

const policyText = z.string().transform((text, context) => {
  try {
    return parsePolicyText(text, 'UTC');
  } catch (error) {
    context.addIssue((error as Error).message);
    return z.NEVER;
  }
});

export const DEFAULT_POLICY = {
  TIDEMARK_DEFAULT_POLICY: policyText
    .optional()
    .describe(
      'policy of enrolled agents’ folders that have none of their own: JSON, or options of `tidemark policy set` such as `--full-every 7d --differential-every 1h`; cron expressions are of UTC where no time zone is named',
    ),
};

export const RECIPIENTS = configList(
  'age1…',
  z.string().refine(isRecipient, 'expected age1…, with every character as it was made'),
).describe(
  'age recipients (age1…,…) to which the keys of new domains are wrapped: who holds one of their identities can restore',
);

export const ADMIN_TOKEN = {
  TIDEMARK_ADMIN_TOKEN: z
    .string()
    .regex(/^\S{32,}$/, 'expected 32 characters or more, without spaces')
    .optional()
    .describe(
      "an administrator's token for the first steps, of 32 characters or more; other tokens are made with it",
    ),
};

export const TOPICS = {
  TIDEMARK_KAFKA_PARTITIONS: z.coerce
    .number()
    .int()
    .min(1)
    .max(1000)
    .default(12)
    .describe('of change-events and delta-sets: as many calculators and writers can share the work'),
  TIDEMARK_KAFKA_REPLICATION: z.coerce
    .number()
    .int()
    .min(1)
    .max(9)
    .default(1)
    .describe('copies of each partition; 3 where there are three brokers'),
};
