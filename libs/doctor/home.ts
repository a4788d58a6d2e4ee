import { type Finding, failed, ok, warning } from './finding.ts';

/** A folder as lstat, access(2) and statfs(2) see it. */
export interface FolderFacts {
  readonly path: string;
  readonly isDirectory: boolean;
  readonly uid: number;
  /** Permission bits. */
  readonly mode: number;
  /** This process may create entries in it. */
  readonly isWritable: boolean;
  readonly freeBytes: number;
  /** Undefined where the file system does not count them. */
  readonly freeInodes: number | undefined;
}

export interface HomeFacts {
  readonly path: string;
  /** Undefined where there is none yet. */
  readonly folder: FolderFacts | undefined;
  /** The nearest folder above that exists. */
  readonly above: FolderFacts | undefined;
  readonly uid: number;
  /** Folders on the way, the home included, that others may not pass. */
  readonly impassable: readonly string[];
  /** Bytes of the path that the embedded Postgres' socket has beside its data. */
  readonly socketPathBytes: number;
}

const MIB = 1024 * 1024;
const FEW_BYTES = 1024 * MIB;
const TOO_FEW_BYTES = 64 * MIB;
const FEW_INODES = 10_000;
const SOCKET_PATH_BYTES = 107;

export function checkHome(facts: HomeFacts): Finding[] {
  const { folder, path } = facts;
  if (!folder) return [notYet(facts)];
  if (!folder.isDirectory) {
    return [failed('home', `${path} is no folder`, 'Name a folder with --home or TIDEMARK_HOME.')];
  }
  return [
    owned(facts, folder),
    mode(folder),
    passable(facts),
    ...checkSpace('home', folder),
    socket(facts.socketPathBytes),
  ];
}

function notYet({ path, above }: HomeFacts): Finding {
  if (above?.isWritable) return ok('home', `${path} is not there yet; the first backup makes it`);
  const text = `${path} is not there, and ${above?.path ?? 'the folder above'} is not writable`;
  return failed('home', text, 'Name another folder with --home or TIDEMARK_HOME.');
}

function owned({ path, uid }: HomeFacts, folder: FolderFacts): Finding {
  if (!folder.isWritable) {
    const guidance = 'Run Tidemark as its owner, or name another home with --home.';
    return failed('home', `${path} is not writable for you (owner: uid ${folder.uid})`, guidance);
  }
  if (folder.uid === uid) return ok('home', `${path} is yours and writable`);
  const guidance = 'Use one user for one home; else files of the two get in each other’s way.';
  return warning('home', `${path} belongs to uid ${folder.uid}, you are uid ${uid}`, guidance);
}

function mode({ path, mode: bits }: FolderFacts): Finding {
  const text = `${path} has mode ${bits.toString(8).padStart(4, '0')}`;
  if ((bits & 0o022) === 0) return ok('home-mode', text);
  return failed('home-mode', `${text}: others may replace what lies in it`, `chmod go-w ${path}`);
}

/** As root, Postgres runs as another user. */
function passable({ uid, impassable }: HomeFacts): Finding {
  if (uid !== 0) return ok('home-passable', 'Postgres runs as you');
  if (impassable.length === 0) return ok('home-passable', 'Postgres’ user can enter it');
  const where = 'the embedded Postgres then keeps its data in /var/lib/tidemark-pg-…';
  return ok('home-passable', `Postgres’ user cannot pass ${impassable.join(', ')}; ${where}`);
}

function socket(bytes: number): Finding {
  if (bytes <= SOCKET_PATH_BYTES) return ok('socket', `its path has ${bytes} bytes`);
  return ok('socket', `beside the data its path would have ${bytes} bytes; a short temporary folder is used`);
}

/** Of home and of a store in a folder. */
export function checkSpace(name: 'home' | 'store', { path, freeBytes, freeInodes }: FolderFacts): Finding[] {
  const free = `${path} has ${Math.floor(freeBytes / MIB)} MiB free`;
  const guidance = 'Free space, or move it to a larger file system.';
  const findings = [
    freeBytes < TOO_FEW_BYTES
      ? failed(`${name}-space`, free, guidance)
      : freeBytes < FEW_BYTES
        ? warning(`${name}-space`, free, guidance)
        : ok(`${name}-space`, free),
  ];
  if (freeInodes !== undefined && freeInodes < FEW_INODES) {
    const text = `${path} has room for ${freeInodes} more files`;
    const remedy = 'Remove files, or move it to a file system with more inodes.';
    findings.push(
      freeInodes < 100 ? failed(`${name}-inodes`, text, remedy) : warning(`${name}-inodes`, text, remedy),
    );
  }
  return findings;
}
