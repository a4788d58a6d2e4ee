import { Option } from 'commander';

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
  if (scheme === 'gs') return expected('file:///DIR or a folder; gs:// comes with the services');
  const isPlace = scheme === undefined || value.startsWith('file:///');
  return isPlace ? utf8Path(value) : expected('file:///DIR or a folder');
}

function postgresUrl(value: string): string {
  return /^postgres(ql)?:\/\//.test(value) ? value : expected('postgres://USER:PASSWORD@HOST/DATABASE');
}

const comesLater = (): never => expected('nothing yet: it comes with the services');

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
    help: 'where backups are kept: file:///DIR or a folder',
    standard: 'the folder `store` of the home',
    parse: storePlace,
  }),
  server: declare({
    flags: '--server <URL>',
    variable: 'TIDEMARK_SERVER',
    help: 'talk to services instead; comes with the services',
    standard: 'everything runs in this process',
    parse: comesLater,
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
    help: 'a real Kafka between the stages; comes with the services, until then only `doctor` looks at it',
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

/** Variables that begin like ours and mean nothing, most likely misspelt. */
export function unknownVariables(env: NodeJS.ProcessEnv): string[] {
  const known = new Set<string>(KEYS.map((key) => DECLARED[key].variable));
  return Object.keys(env)
    .filter((name) => name.startsWith('TIDEMARK_') && !known.has(name))
    .sort();
}
