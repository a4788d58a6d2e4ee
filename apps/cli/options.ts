import { Option } from 'commander';
import { COMPRESSIONS, type Compression } from '../../libs/model/compression.ts';

/**
 * One setting of the command: a global option, an environment variable, or both. Help, validation, `doctor` and
 * docs/4-configuration.md are made from this table alone.
 */
export interface Declared<T> {
  /** As commander reads them; undefined for what is set in the environment only. */
  readonly flags?: string;
  readonly variable: string;
  readonly help: string;
  /** What holds where neither is given, in words. */
  readonly standard: string;
  /** Throws what is expected, as a RangeError. The text is never empty. */
  readonly parse: (text: string) => T;
  /** Its value may not be shown. */
  readonly secret?: true;
}

const declare = <T>(declared: Declared<T>): Declared<T> => declared;

const expected = (what: string): never => {
  throw new RangeError(`expected ${what}`);
};

const text = (value: string): string => value;

/** A path that other programs and connection strings have to take, too. */
function utf8Path(value: string): string {
  return value.isWellFormed() ? value : expected('a path in UTF-8');
}

function yesOrNo(value: string): boolean {
  if (value === '1' || value === 'true') return true;
  return value === '0' || value === 'false' ? false : expected('1 or 0');
}

function wholeFrom1To64(value: string): number {
  return /^\d{1,2}$/.test(value) && Number(value) >= 1 && Number(value) <= 64
    ? Number(value)
    : expected('a whole number from 1 to 64');
}

function compression(value: string): Compression {
  return COMPRESSIONS.find((one) => one === value) ?? expected(COMPRESSIONS.join(', '));
}

function seconds(value: string): number {
  return /^\d{1,9}(\.\d+)?$/.test(value) ? Number(value) : expected('a number of seconds');
}

const UNITS = { '': 0, K: 1, M: 2, G: 3, T: 4 } as const;

/** Bytes a second: 512K, 10M, 1.5G (of 1024). */
function byteRate(value: string): number {
  const [, number, unit] = /^(\d{1,12}(?:\.\d+)?)([KMGT]?)$/i.exec(value) ?? [];
  const rate = Math.floor(Number(number) * 1024 ** UNITS[(unit ?? '').toUpperCase() as keyof typeof UNITS]);
  return rate >= 1 ? rate : expected('bytes a second, such as 512K or 10M');
}

function storePlace(value: string): string {
  const scheme = /^([a-z][a-z0-9+.-]*):/.exec(value)?.[1];
  if (scheme === 'gs') return bucketPlace(value);
  const isPlace = scheme === undefined || value.startsWith('file:///');
  return isPlace ? utf8Path(value) : expected('file:///DIR, a folder, or gs://BUCKET/PREFIX');
}

function bucketPlace(value: string): string {
  const isPlace = /^gs:\/\/[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](\/[A-Za-z0-9_.-]+)*\/?$/.test(value);
  return isPlace ? value : expected('gs://BUCKET/PREFIX, the prefix of letters, digits, - _ . and slashes');
}

function httpAddress(value: string): string {
  const url = URL.parse(value);
  const isAddress = url !== null && /^https?:$/.test(url.protocol) && /^\/?$/.test(url.pathname + url.search);
  return isAddress ? value : expected('http://HOST:PORT');
}

function postgresUrl(value: string): string {
  return /^postgres(ql)?:\/\//.test(value) ? value : expected('postgres://USER:PASSWORD@HOST/DATABASE');
}

function serverUrl(value: string): string {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (!url || !/^https?:$/.test(url.protocol)) return expected('http(s)://HOST:PORT');
  if (url.username || url.password || url.search || url.hash)
    return expected('http(s)://HOST:PORT alone; the token has a variable of its own');
  return value.replace(/\/+$/, '');
}

export const DECLARED = {
  home: declare({
    flags: '--home <DIR>',
    variable: 'TIDEMARK_HOME',
    help: 'where registry, state and identity lie',
    standard: '/var/lib/tidemark as root, else ~/.local/share/tidemark (XDG_DATA_HOME)',
    parse: utf8Path,
  }),
  store: declare({
    flags: '--store <URL>',
    variable: 'TIDEMARK_STORE',
    help: 'where backups are kept: file:///DIR, a folder, or gs://BUCKET/PREFIX',
    standard: 'the folder `store` of the home',
    parse: storePlace,
  }),
  gcsEndpoint: declare({
    variable: 'TIDEMARK_GCS_ENDPOINT',
    help: 'address of a Google Cloud Storage emulator, http://HOST:PORT; it is sent no credentials',
    standard: 'gs:// is Google, with the credentials of the environment (GOOGLE_APPLICATION_CREDENTIALS)',
    parse: httpAddress,
  }),
  server: declare({
    flags: '--server <URL>',
    variable: 'TIDEMARK_SERVER',
    help: 'URL of the control plane: talk to services instead',
    standard: 'everything runs in this process',
    parse: serverUrl,
  }),
  token: declare({
    variable: 'TIDEMARK_TOKEN',
    help: 'with --server: the token of a reader or an administrator',
    standard: "the enrolled agent's own: it sees its own backups and can't read them back",
    parse: text,
    secret: true,
  }),
  tokenFile: declare({
    variable: 'TIDEMARK_TOKEN_FILE',
    help: 'a file, for its owner only, that holds that token',
    standard: 'TIDEMARK_TOKEN',
    parse: utf8Path,
  }),
  enrolToken: declare({
    variable: 'TIDEMARK_ENROL_TOKEN',
    help: 'with --server: enrols this host the first time it is needed',
    standard: 'the host has to be enrolled',
    parse: text,
    secret: true,
  }),
  enrolTokenFile: declare({
    variable: 'TIDEMARK_ENROL_TOKEN_FILE',
    help: 'a file, for its owner only, that holds that token',
    standard: 'TIDEMARK_ENROL_TOKEN',
    parse: utf8Path,
  }),
  source: declare({
    flags: '--source <DIR>',
    variable: 'TIDEMARK_SOURCE',
    help: 'the backed-up folder, as DIR or AGENT:DIR, where a label alone is not enough',
    standard: 'all sources',
    parse: text,
  }),
  identity: declare({
    flags: '--identity <FILE>',
    variable: 'TIDEMARK_IDENTITY',
    help: 'the age identity that opens the store',
    standard: 'the file `identity` of the home',
    parse: utf8Path,
  }),
  passphraseFile: declare({
    flags: '--passphrase-file <FILE>',
    variable: 'TIDEMARK_PASSPHRASE_FILE',
    help: 'a file that holds the passphrase of the identity',
    standard: 'no passphrase',
    parse: utf8Path,
  }),
  passphrase: declare({
    variable: 'TIDEMARK_PASSPHRASE',
    help: 'the passphrase itself, where there is no file',
    standard: 'no passphrase',
    parse: text,
    secret: true,
  }),
  threads: declare({
    flags: '--threads <N>',
    variable: 'TIDEMARK_THREADS',
    help: 'worker threads, 1 to 64',
    standard: '2',
    parse: wholeFrom1To64,
  }),
  compression: declare({
    flags: '--compression <HOW>',
    variable: 'TIDEMARK_COMPRESSION',
    help: 'of new blocks: off, fast, or better (smaller, for about half as much work again)',
    standard: 'fast',
    parse: compression,
  }),
  limitUpload: declare({
    flags: '--limit-upload <RATE>',
    variable: 'TIDEMARK_LIMIT_UPLOAD',
    help: 'bytes a second into the store, such as 512K or 10M',
    standard: 'no limit',
    parse: byteRate,
  }),
  limitDownload: declare({
    flags: '--limit-download <RATE>',
    variable: 'TIDEMARK_LIMIT_DOWNLOAD',
    help: 'bytes a second out of the store',
    standard: 'no limit',
    parse: byteRate,
  }),
  json: declare({
    flags: '--json',
    variable: 'TIDEMARK_JSON',
    help: 'one JSON object a line on stdout',
    standard: 'text',
    parse: yesOrNo,
  }),
  quiet: declare({
    flags: '--quiet',
    variable: 'TIDEMARK_QUIET',
    help: 'say nothing but errors',
    standard: 'summaries and notes are shown',
    parse: yesOrNo,
  }),
  verbose: declare({
    flags: '--verbose',
    variable: 'TIDEMARK_VERBOSE',
    help: 'also print the stack traces of errors',
    standard: 'message, code and remedy only',
    parse: yesOrNo,
  }),
  noProgress: declare({
    flags: '--no-progress',
    variable: 'TIDEMARK_NO_PROGRESS',
    help: 'no progress line',
    standard: 'progress is shown on a terminal and with --json',
    parse: yesOrNo,
  }),
  yes: declare({
    flags: '--yes',
    variable: 'TIDEMARK_YES',
    help: 'answer every question with yes',
    standard: 'what needs a confirmation is refused',
    parse: yesOrNo,
  }),
  registryUrl: declare({
    variable: 'TIDEMARK_REGISTRY_URL',
    help: 'a Postgres of your own (15 or newer) as registry: postgres://USER:PASSWORD@HOST/DATABASE',
    standard: 'the embedded Postgres in the home',
    parse: postgresUrl,
    secret: true,
  }),
  postgresIdleSeconds: declare({
    variable: 'TIDEMARK_PG_IDLE_SECONDS',
    help: 'how long the embedded Postgres runs on after the last command, in seconds',
    standard: '30',
    parse: seconds,
  }),
  kafkaBrokers: declare({
    variable: 'TIDEMARK_KAFKA_BROKERS',
    help: 'with `serve`: a real Kafka between the stages, HOST:PORT,…; a command sends its change events over the writers',
    standard: 'messages stay in this process',
    parse: text,
  }),
};

export type Key = keyof typeof DECLARED;
export const KEYS = Object.keys(DECLARED) as Key[];

/** What commander calls the option: `--limit-upload <RATE>` is `limitUpload`, `--no-progress` is `progress`. */
export const attributeOf = ({ flags }: Declared<unknown>): string | undefined =>
  flags === undefined ? undefined : new Option(flags).attributeName();

export const globalOptions = (): Option[] =>
  KEYS.map((key): Declared<unknown> => DECLARED[key])
    .filter((one) => one.flags !== undefined)
    .map((one) => new Option(one.flags!, `${one.help} (${one.variable})`));

/** Variables that only `serve` reads (serve-config.ts, which nobody else has to load); each may come from a file, as NAME_FILE. */
export const SERVE_VARIABLES = [
  'TIDEMARK_LISTEN',
  'TIDEMARK_URL',
  'TIDEMARK_RECIPIENTS',
  'TIDEMARK_ADMIN_TOKEN',
  'TIDEMARK_DEFAULT_POLICY',
  'TIDEMARK_KAFKA_TLS',
  'TIDEMARK_KAFKA_CA',
  'TIDEMARK_KAFKA_MECHANISM',
  'TIDEMARK_KAFKA_USERNAME',
  'TIDEMARK_KAFKA_PASSWORD',
  'TIDEMARK_KAFKA_TOPIC_PREFIX',
  'TIDEMARK_KAFKA_SESSION',
  'TIDEMARK_KAFKA_PARTITIONS',
  'TIDEMARK_KAFKA_REPLICATION',
];

/** Variables that begin like ours and mean nothing, most likely misspelt. */
export function unknownVariables(env: NodeJS.ProcessEnv): string[] {
  const known = new Set<string>(KEYS.map((key) => DECLARED[key].variable));
  for (const name of SERVE_VARIABLES) known.add(name).add(`${name}_FILE`);
  return Object.keys(env)
    .filter((name) => name.startsWith('TIDEMARK_') && !known.has(name))
    .sort();
}
