import { randomUUID } from 'node:crypto';
import { chmod, mkdir, open, readFile, rename, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { TmError } from '../model/errors.ts';

interface HomeFile {
  readonly version: 1;
  /** Names this host in sources; the host's name when the home was made. */
  readonly agent: string;
  /** Id of this home's journal writer. */
  readonly writer: string;
}

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
      await writeSecret(join(path, 'home.json'), JSON.stringify(made));
      return new Home(path, made);
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

  get spool(): string {
    return join(this.path, 'spool');
  }

  stateFile(sourceUid: string): string {
    return join(this.path, 'agent', `${sourceUid}.state`);
  }
}

async function readJson<T>(file: string): Promise<T | undefined> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as T;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Writes a file that only its owner may read: temporary file, fsync, rename. */
export async function writeSecret(file: string, content: string | Buffer): Promise<void> {
  const temporary = `${file}.${process.pid}.new`;
  const handle = await open(temporary, 'w', 0o600);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
}

/** Refuses a secret that others may read. */
export async function readSecret(file: string): Promise<Buffer> {
  const { mode } = await stat(file);
  if ((mode & 0o077) !== 0) throw new TmError('TM1405', file);
  return readFile(file);
}
