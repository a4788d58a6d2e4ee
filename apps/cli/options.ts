import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { TmError } from '../../libs/model/errors.ts';

/** Global options as commander parsed them; each may come from the environment too. */
export interface GlobalOptions {
  readonly home?: string;
  readonly store?: string;
  readonly identity?: string;
  readonly passphraseFile?: string;
  readonly source?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
  readonly progress?: boolean;
  readonly yes?: boolean;
  readonly threads?: string;
}

export interface Settings {
  readonly home: string;
  readonly storeUrl: string;
  readonly registryUrl: string | undefined;
  readonly identityFile: string | undefined;
  readonly passphrase: string | undefined;
  readonly source: string | undefined;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly verbose: boolean;
  readonly progress: boolean;
  readonly yes: boolean;
  readonly threads: number;
}

function defaultHome(env: NodeJS.ProcessEnv): string {
  if (process.getuid?.() === 0) return '/var/lib/tidemark';
  return join(env.XDG_DATA_HOME || join(homedir(), '.local', 'share'), 'tidemark');
}

function storeUrlOf(value: string | undefined, home: string): string {
  if (!value) return pathToFileURL(join(home, 'store')).href;
  if (/^[a-z][a-z0-9+.-]*:/.test(value)) return value;
  return pathToFileURL(resolve(value)).href;
}

function passphraseOf(file: string | undefined, env: NodeJS.ProcessEnv): string | undefined {
  if (!file) return env.TIDEMARK_PASSPHRASE;
  try {
    return readFileSync(file, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    throw new TmError('TM1002', `--passphrase-file ${file}: ${(error as Error).message}`);
  }
}

function threadsOf(value: string | undefined): number {
  if (value === undefined) return 2;
  const threads = Number(value);
  if (!Number.isInteger(threads) || threads < 1 || threads > 64)
    throw new TmError('TM1002', `--threads ${value}: a whole number from 1 to 64`);
  return threads;
}

/** Options over environment over defaults, each checked at once. */
export function settingsOf(options: GlobalOptions, env: NodeJS.ProcessEnv = process.env): Settings {
  const home = resolve(options.home ?? env.TIDEMARK_HOME ?? defaultHome(env));
  const registryUrl = env.TIDEMARK_REGISTRY_URL || undefined;
  if (registryUrl && !/^postgres(ql)?:\/\//.test(registryUrl)) {
    throw new TmError('TM1002', 'TIDEMARK_REGISTRY_URL: postgres://USER:PASSWORD@HOST/DATABASE is expected');
  }
  return {
    home,
    storeUrl: storeUrlOf(options.store ?? env.TIDEMARK_STORE, home),
    registryUrl,
    identityFile: options.identity ?? env.TIDEMARK_IDENTITY,
    passphrase: passphraseOf(options.passphraseFile ?? env.TIDEMARK_PASSPHRASE_FILE, env),
    source: options.source ?? env.TIDEMARK_SOURCE,
    json: options.json ?? env.TIDEMARK_JSON === '1',
    quiet: options.quiet ?? env.TIDEMARK_QUIET === '1',
    verbose: options.verbose ?? env.TIDEMARK_VERBOSE === '1',
    progress: (options.progress ?? true) && env.TIDEMARK_NO_PROGRESS !== '1',
    yes: options.yes ?? env.TIDEMARK_YES === '1',
    threads: threadsOf(options.threads ?? env.TIDEMARK_THREADS),
  };
}
