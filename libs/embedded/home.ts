import { randomUUID } from 'node:crypto';
import { chmod, link, mkdir, open, readFile, rename, stat, unlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { TmError } from '../model/errors.ts';
import { syncFolder } from '../store/file/files.ts';

interface HomeFile {
  readonly version: 1;
  /** Names this host in sources; the host's name when the home was made. */
  readonly agent: string;
  /** Id of this home's journal writer. */
  readonly writer: string;
}

export const watchFolderOf = (home: string): string => join(home, 'watch');

/** The folder in which the embedded mode keeps registry, agent state, identity and sockets. */
export class Home {
  readonly path: string;
  readonly agent: string;
  readonly writer: string;

  private constructor(path: string, file: HomeFile) {
    this.path = path;
    this.agent = file.agent;
    this.writer = file.writer;
  }

  /** Opens a home, making it when there is none. */
  static async open(path: string): Promise<Home> {
    const root = process.getuid?.() === 0;
    try {
      await mkdir(path, { recursive: true, mode: root ? 0o711 : 0o700 });
      if (root) await chmod(path, 0o711); // Postgres runs as another user and has to pass through
      await mkdir(join(path, 'agent'), { recursive: true, mode: 0o700 });
      await mkdir(join(path, 'spool'), { recursive: true, mode: 0o700 });
      const known = await readJson<HomeFile>(join(path, 'home.json'));
      if (known) return new Home(path, known);
      const made: HomeFile = { version: 1, agent: hostname(), writer: randomUUID() };
      const isOurs = await createSecret(join(path, 'home.json'), JSON.stringify(made));
      return new Home(path, isOurs ? made : (await readJson<HomeFile>(join(path, 'home.json')))!);
    } catch (error) {
      if (error instanceof TmError) throw error;
      throw new TmError('TM1010', `${path}: ${(error as Error).message}`, { cause: error });
    }
  }

  get identityFile(): string {
    return join(this.path, 'identity');
  }

  get domainFile(): string {
    return join(this.path, 'agent', 'domain.json');
  }

  get storePlanFile(): string {
    return join(this.path, 'agent', 'new-store.json');
  }

  get spool(): string {
    return join(this.path, 'spool');
  }

  /** Locks and sockets of the processes that watch folders. */
  get watchFolder(): string {
    return watchFolderOf(this.path);
  }

  stateFile(sourceUid: string): string {
    return join(this.path, 'agent', `${sourceUid}.state`);
  }

  /** The record of a source's watch and its gaps (libs/watch/ledger.ts). */
  ledgerFile(sourceUid: string): string {
    return join(this.path, 'agent', `${sourceUid}.ledger`);
  }
}

export async function readJson<T>(file: string): Promise<T | undefined> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as T;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Writes a file that only its owner may read, durable with its name: an identity that is lost takes all backups along. */
export async function writeSecret(file: string, content: string | Buffer): Promise<void> {
  await rename(await writeTemporary(file, content), file);
  await syncFolder(dirname(file));
}

/** As writeSecret, but never over a file that is there: false when there was one (another process was first). */
export async function createSecret(file: string, content: string | Buffer): Promise<boolean> {
  const temporary = await writeTemporary(file, content);
  try {
    await link(temporary, file);
    await syncFolder(dirname(file));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await unlink(temporary);
  }
}

async function writeTemporary(file: string, content: string | Buffer): Promise<string> {
  const temporary = `${file}.${process.pid}.new`;
  const handle = await open(temporary, 'w', 0o600);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  return temporary;
}

/** Refuses a secret that others may read. */
export async function readSecret(file: string): Promise<Buffer> {
  const { mode } = await stat(file);
  if ((mode & 0o077) !== 0) throw new TmError('TM1405', file);
  return readFile(file);
}
