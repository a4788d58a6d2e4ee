import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { TmError } from '../model/errors.ts';

/** Variables that may come from a file, as NAME_FILE: secrets, mostly. */
const FILE_SUFFIX = '_FILE';
const OURS = /^(TIDEMARK|LOG)_/;
/** All of them or none. */
const TOGETHER = ['TIDEMARK_KAFKA_MECHANISM', 'TIDEMARK_KAFKA_USERNAME', 'TIDEMARK_KAFKA_PASSWORD'];

/**
 * A service's configuration from the environment. The schema's keys are the variables; empty ones count as not set.
 * Throws one TM1002 that names every variable that is wrong, missing, or unknown though it begins like ours; values are
 * never shown.
 */
export function readConfig<S extends z.ZodRawShape>(
  shape: S,
  env: NodeJS.ProcessEnv,
): z.infer<z.ZodObject<S>> {
  const problems: string[] = [];
  const values = Object.fromEntries(
    Object.keys(shape).map((name) => [name, settingOf(name, env, problems)] as const),
  );
  const known = new Set(Object.keys(shape).flatMap((name) => [name, name + FILE_SUFFIX]));
  for (const name of Object.keys(env)
    .filter((one) => OURS.test(one) && !known.has(one))
    .sort())
    problems.push(`${name}: there is no such variable`);
  problems.push(...missingTogether(values));
  const parsed = z.object(shape).safeParse(values);
  for (const { path, message } of parsed.error?.issues ?? []) {
    const name = String(path[0]);
    problems.push(`${name}: ${values[name] === undefined ? 'it has to be set' : message}`);
  }
  if (problems.length > 0 || !parsed.success) throw new TmError('TM1002', problems.join('; '));
  return parsed.data;
}

function settingOf(name: string, env: NodeJS.ProcessEnv, problems: string[]): string | undefined {
  const [given, path] = [env[name], env[name + FILE_SUFFIX]];
  if (!path) return given || undefined;
  if (given) problems.push(`${name}: it is set, and ${name}${FILE_SUFFIX} too`);
  try {
    return readFileSync(path, 'utf8').trim() || undefined;
  } catch (error) {
    problems.push(`${name}${FILE_SUFFIX}: ${(error as NodeJS.ErrnoException).code ?? 'it cannot be read'}`);
    return undefined;
  }
}

function missingTogether(values: Readonly<Record<string, string | undefined>>): string[] {
  const given = TOGETHER.find((name) => values[name] !== undefined);
  if (given === undefined) return [];
  const missing = TOGETHER.filter((name) => values[name] === undefined);
  return missing.map((name) => `${name}: it has to be set where ${given} is`);
}

const list = (what: string, item: z.ZodType<string, string>) =>
  z
    .string()
    .transform((text) => text.split(',').map((one) => one.trim()))
    .pipe(z.array(item).min(1, `expected ${what}, separated by commas`));

const yesOrNo = z.enum(['0', '1', 'true', 'false']).transform((text) => text === '1' || text === 'true');

const MAX_PORT = 65_535;

const hostAndPort = z
  .string()
  .regex(/^(\[[0-9a-f:.]+\]|[\w.-]+):\d{1,5}$/i, { error: 'expected HOST:PORT', abort: true })
  .refine((text) => listenOf(text).port <= MAX_PORT, `expected a port up to ${MAX_PORT}`);

/** The text of a PEM file. */
const certificates = z.string().transform((path, context) => {
  try {
    const pem = readFileSync(path, 'utf8');
    new X509Certificate(pem);
    return pem;
  } catch (error) {
    context.addIssue(fileProblem(error) ?? 'expected a PEM file of certificates');
    return z.NEVER;
  }
});

/** The file system's code, such as ENOENT. */
const fileProblem = (error: unknown): string | undefined => {
  const { code, syscall } = error as NodeJS.ErrnoException;
  return syscall === undefined ? undefined : code;
};

/** What every service has. */
export const COMMON = {
  TIDEMARK_LISTEN: hostAndPort
    .default('0.0.0.0:8080')
    .describe('where it listens for health checks, metrics and its own routes, HOST:PORT'),
  LOG_LEVEL: z.enum(['error', 'warn', 'info', 'debug']).default('info').describe('how much the log says'),
};

export const REGISTRY = {
  TIDEMARK_REGISTRY_URL: z
    .string()
    .regex(/^postgres(ql)?:\/\//, 'expected postgres://USER:PASSWORD@HOST/DATABASE')
    .describe('the baseline registry, postgres://USER:PASSWORD@HOST/DATABASE'),
};

export const STORE = {
  TIDEMARK_STORE: z
    .string()
    .regex(/^(file:\/\/\/|gs:\/\/)/, 'expected file:///DIR or gs://BUCKET/PREFIX')
    .describe('the store, gs://BUCKET/PREFIX, or file:///DIR where all services see one folder'),
  TIDEMARK_GCS_ENDPOINT: z.url().optional().describe('address of an emulator of Google Cloud Storage'),
};

export const KAFKA = {
  TIDEMARK_KAFKA_BROKERS: list('HOST:PORT', hostAndPort).describe('some of the brokers, HOST:PORT,…'),
  TIDEMARK_KAFKA_TLS: yesOrNo.default(false).describe('1: connections are encrypted'),
  TIDEMARK_KAFKA_CA: certificates
    .optional()
    .describe(
      "PEM file of the authority that signed the brokers' certificates, where the system knows it not",
    ),
  TIDEMARK_KAFKA_MECHANISM: z
    .enum(['plain', 'scram-sha-256', 'scram-sha-512'])
    .optional()
    .describe('how it shows who it is: plain, scram-sha-256 or scram-sha-512'),
  TIDEMARK_KAFKA_USERNAME: z.string().optional().describe('who it is for Kafka'),
  TIDEMARK_KAFKA_PASSWORD: z.string().optional().describe('its password'),
  TIDEMARK_KAFKA_TOPIC_PREFIX: z
    .string()
    .regex(/^[\w.-]*$/)
    .default('')
    .describe('stands before the names of topics and groups, where several cells share a cluster'),
};

/** Of services that consume topics. */
export const KAFKA_CONSUMER = {
  ...KAFKA,
  TIDEMARK_KAFKA_SESSION: z.coerce
    .number()
    .int()
    .min(6, 'expected 6 or more seconds')
    .max(300, 'expected 300 seconds or less')
    .default(30)
    .describe('seconds of silence after which another instance takes over what this one was at'),
};

/** The same variables where Kafka may be left out. */
export const KAFKA_OR_NONE = {
  ...KAFKA,
  TIDEMARK_KAFKA_BROKERS: KAFKA.TIDEMARK_KAFKA_BROKERS.optional().describe(
    `${KAFKA.TIDEMARK_KAFKA_BROKERS.description}`,
  ),
};

export const listenOf = (text: string): { host: string; port: number } => {
  const at = text.lastIndexOf(':');
  return { host: text.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(text.slice(at + 1)) };
};

export { list as configList };
