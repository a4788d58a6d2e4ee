import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { type Credentials, enrol, loadCredentials } from '../../libs/agent/credentials.ts';
import { identify } from '../../libs/agent/folder-identity.ts';
import type { BackupReader } from '../../libs/catalogue/backup-reader.ts';
import { readIdentity } from '../../libs/embedded/domain-files.ts';
import { Home } from '../../libs/embedded/home.ts';
import { TmError } from '../../libs/model/errors.ts';
import { remoteReader } from '../../libs/remote/remote-reader.ts';
import { ServerConnection } from '../../libs/remote/server-connection.ts';
import type { Context } from './context.ts';

/** For a command that only reads, over services. `needsHome`: for temporary files; else none is made. */
export async function withServer<T>(
  { settings, signal }: Context,
  work: (connection: ServerConnection, reader: BackupReader) => Promise<T>,
  needsHome = false,
): Promise<T> {
  const { home: path, server } = settings;
  const home = needsHome || existsSync(join(path, 'home.json')) ? await Home.open(path) : undefined;
  const enrolled = await loadCredentials(path);
  const token = server!.token ?? enrolled?.token;
  if (token === undefined) throw new TmError('TM1801', 'none is given, and this host is not enrolled');
  const connection = new ServerConnection({ server: server!.url, token }, signal);
  const reader = remoteReader(connection, {
    agent: enrolled?.agent.name ?? home?.agent ?? hostname(),
    agentUid: enrolled?.agent.id,
    spoolDir: home?.spool ?? join(path, 'spool'),
    downloadLimit: settings.limits.download,
    forbidden: () => [identify(path)].filter((one) => one !== undefined),
    identity: () => readIdentity({ identityFile: join(path, 'identity') }, settings),
  });
  try {
    return await work(connection, reader);
  } finally {
    await connection.close();
  }
}

/** This host's agent: the one that it is, or becomes with the enrolment token. */
export async function enrolledHere({ settings, output }: Context, home: Home): Promise<Credentials> {
  const { url, enrolToken } = settings.server!;
  const known = await loadCredentials(home.path);
  if (known) return { ...known, server: url };
  if (enrolToken === undefined)
    throw new TmError('TM1002', 'TIDEMARK_ENROL_TOKEN: it has to be set, since this home is not enrolled');
  const made = await enrol({ home: home.path, server: url, token: enrolToken, name: home.agent });
  output.status(`enrolled at ${url} as ${made.agent.name}`);
  return made;
}
