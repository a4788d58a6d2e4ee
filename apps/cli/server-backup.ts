import { checkedRoot } from '../../libs/agent/checked-root.ts';
import type { Credentials } from '../../libs/agent/credentials.ts';
import { identify } from '../../libs/agent/folder-identity.ts';
import type { RemoteBackupRequest } from '../../libs/agent/remote-backup.ts';
import { AgentSession, type SessionOptions } from '../../libs/agent/session.ts';
import type { BackupRequest } from '../../libs/embedded/backup.ts';
import { Home } from '../../libs/embedded/home.ts';
import { type ErrorCode, TmError } from '../../libs/model/errors.ts';
import { baseName, parentPath, type TreePath } from '../../libs/model/tree-path.ts';
import { askAgent, type MadeBackup } from '../../libs/remote/asked-backup.ts';
import { RemoteCatalogue } from '../../libs/remote/remote-catalogue.ts';
import type { Context } from './context.ts';
import { enrolledHere } from './with-server.ts';

/**
 * One backup against services: by an agent that lives as long as this command, or by the one that runs on this host
 * already. Where that one goes while it is waited for, this command takes its place.
 */
export async function serverBackup(context: Context, request: BackupRequest): Promise<MadeBackup> {
  const home = await Home.open(context.settings.home);
  const root = await checkedRoot(request.dir, [home.path]);
  const skip = [identify(home.path)].filter((one) => one !== undefined);
  const credentials = await enrolledHere(context, home);
  const stateFile = (uid: string) => home.stateFile(uid);
  for (;;) {
    const session = await signOn(
      { credentials, stateFile, uploadLimit: context.settings.limits.upload },
      context.signal,
    );
    const made = session
      ? await ownBackup(session, { ...request, root, skip })
      : await handOver(context, credentials, { ...request, root });
    if (made) return made;
  }
}

/** Undefined where another process has the identity. */
async function signOn(options: SessionOptions, signal: AbortSignal): Promise<AgentSession | undefined> {
  try {
    return await AgentSession.signOn(options, signal);
  } catch (error) {
    if (error instanceof TmError && error.code === 'TM1803') return undefined;
    throw error;
  }
}

async function handOver(
  { output, signal }: Context,
  { server, token }: Credentials,
  request: BackupRequest & { readonly root: Buffer },
): Promise<MadeBackup | undefined> {
  const onProblem = (code: ErrorCode, path: TreePath) =>
    output.problem(code, parentPath(path), baseName(path));
  const onStatus = (text: string) => output.status(text);
  return askAgent({ server, token }, { ...request, onProblem, onStatus, signal });
}

async function ownBackup(session: AgentSession, request: RemoteBackupRequest): Promise<MadeBackup> {
  try {
    const { id } = await session.backup(request);
    return await madeBackup(session, id);
  } finally {
    await session.close();
  }
}

async function madeBackup({ control }: AgentSession, id: string): Promise<MadeBackup> {
  const catalogue = new RemoteCatalogue(control, AbortSignal.timeout(60_000));
  const made = await catalogue.backup(id);
  if (made.backup.kind === 'full') return { backup: made.backup, baseline: null };
  const { baselineSeq } = made.backup;
  const baseline = (await catalogue.backups(made.source)).find(({ backup }) => backup.seq === baselineSeq);
  return { backup: made.backup, baseline: baseline?.backup.label ?? null };
}
