import { readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Compression } from '../../libs/model/compression.ts';
import { TmError } from '../../libs/model/errors.ts';
import { attributeOf, DECLARED, type Declared, type Key } from './options.ts';

/** Options as commander parsed them. */
export type GivenOptions = Readonly<Record<string, unknown>>;

export interface Settings {
  readonly home: string;
  readonly storeUrl: string;
  readonly gcsEndpoint: string | undefined;
  readonly registryUrl: string | undefined;
  readonly identityFile: string | undefined;
  readonly passphrase: string | undefined;
  readonly source: string | undefined;
  /** Services to talk to instead of doing it here. */
  readonly server: ServerSettings | undefined;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly verbose: boolean;
  readonly progress: boolean;
  readonly yes: boolean;
  readonly threads: number;
  readonly compression: Compression;
  /** Bytes a second. */
  readonly limits: { readonly upload: number | undefined; readonly download: number | undefined };
  readonly kafkaBrokers: string | undefined;
}

export interface ServerSettings {
  readonly url: string;
  readonly token: string | undefined;
  readonly enrolToken: string | undefined;
}

type ValueOf<K extends Key> = ReturnType<(typeof DECLARED)[K]['parse']>;

/** Reads declared values: the option where it is given, else the variable; an empty variable is none. */
class Reader {
  readonly #given: GivenOptions;
  readonly #env: NodeJS.ProcessEnv;

  constructor(given: GivenOptions, env: NodeJS.ProcessEnv) {
    this.#given = given;
    this.#env = env;
  }

  value<K extends Key>(key: K): ValueOf<K> | undefined {
    const declared: Declared<unknown> = DECLARED[key];
    const attribute = attributeOf(declared);
    const option = attribute === undefined ? undefined : this.#given[attribute];
    if (typeof option === 'string') {
      return parsed(declared, declared.flags!.split(' ')[0]!, option) as ValueOf<K>;
    }
    if (option === true && attribute !== 'progress') return true as ValueOf<K>;
    if (option === false) return true as ValueOf<K>; // --no-progress
    const text = this.#env[declared.variable];
    return text ? (parsed(declared, declared.variable, text) as ValueOf<K>) : undefined;
  }
}

function parsed(declared: Declared<unknown>, name: string, text: string): unknown {
  try {
    if (text === '') throw new RangeError('expected a value, it is empty');
    return declared.parse(text);
  } catch (error) {
    const shown = declared.secret ? name : `${name}=${text}`;
    throw new TmError('TM1002', `${shown}: ${(error as Error).message}`);
  }
}

function defaultHome(env: NodeJS.ProcessEnv): string {
  if (process.getuid?.() === 0) return '/var/lib/tidemark';
  return join(env.XDG_DATA_HOME || join(homedir(), '.local', 'share'), 'tidemark');
}

const storeUrlOf = (value: string | undefined, home: string): string =>
  value !== undefined && /^(file|gs):/.test(value)
    ? value
    : pathToFileURL(value ? resolve(value) : join(home, 'store')).href;

function passphraseOf(file: string | undefined, direct: string | undefined): string | undefined {
  if (!file) return direct;
  try {
    return readFileSync(file, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    throw new TmError('TM1002', `--passphrase-file ${file}: ${(error as Error).message}`);
  }
}

/** A token that is given directly, or by a file that nobody else may read. */
function tokenOf(direct: string | undefined, file: string | undefined, variable: string): string | undefined {
  if (direct !== undefined || file === undefined) return direct;
  try {
    if ((statSync(file).mode & 0o077) !== 0) throw new TmError('TM1405', file);
    const token = readFileSync(file, 'utf8').trim();
    if (token !== '') return token;
  } catch (error) {
    if (error instanceof TmError) throw error;
    throw new TmError('TM1002', `${variable}=${file}: ${(error as Error).message}`);
  }
  throw new TmError('TM1002', `${variable}=${file}: the file is empty`);
}

function serverOf(reader: Reader): ServerSettings | undefined {
  const url = reader.value('server');
  if (url === undefined) return undefined;
  const [token, enrolToken] = [reader.value('token'), reader.value('enrolToken')];
  return {
    url,
    token: tokenOf(token, reader.value('tokenFile'), DECLARED.tokenFile.variable),
    enrolToken: tokenOf(enrolToken, reader.value('enrolTokenFile'), DECLARED.enrolTokenFile.variable),
  };
}

/** Options over environment over defaults, each checked at once. */
export function settingsOf(given: GivenOptions, env: NodeJS.ProcessEnv = process.env): Settings {
  const reader = new Reader(given, env);
  reader.value('postgresIdleSeconds');
  const home = resolve(reader.value('home') ?? defaultHome(env));
  return {
    home,
    storeUrl: storeUrlOf(reader.value('store'), home),
    gcsEndpoint: reader.value('gcsEndpoint'),
    registryUrl: reader.value('registryUrl'),
    identityFile: reader.value('identity'),
    passphrase: passphraseOf(reader.value('passphraseFile'), reader.value('passphrase')),
    source: reader.value('source'),
    server: serverOf(reader),
    json: reader.value('json') ?? false,
    quiet: reader.value('quiet') ?? false,
    verbose: reader.value('verbose') ?? false,
    progress: !(reader.value('noProgress') ?? false),
    yes: reader.value('yes') ?? false,
    threads: reader.value('threads') ?? 2,
    compression: reader.value('compression') ?? 'fast',
    limits: { upload: reader.value('limitUpload'), download: reader.value('limitDownload') },
    kafkaBrokers: reader.value('kafkaBrokers'),
  };
}
