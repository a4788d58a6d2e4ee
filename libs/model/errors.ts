/**
 * Every error that Tidemark can report. `exit` is the command's exit code (2-cli), `retry` says whether the
 * same call may succeed later without anybody acting, `guidance` is the remedy shown under the message.
 * docs/errors.md is generated from this table.
 */
export interface ErrorSpec {
  readonly title: string;
  readonly exit: 1 | 2 | 3 | 4 | 10 | 11 | 130;
  readonly retry: boolean;
  readonly guidance: string;
}

const spec = (title: string, exit: ErrorSpec['exit'], guidance: string, retry = false): ErrorSpec => ({
  title,
  exit,
  retry,
  guidance,
});

export const ERRORS = {
  // 10xx: usage, configuration, environment
  TM1001: spec('wrong usage', 2, 'See `tidemark --help` or `tidemark COMMAND --help`.'),
  TM1002: spec(
    'an option or environment variable has a bad value',
    2,
    'Correct the value that the message names.',
  ),
  TM1003: spec('a confirmation is needed', 2, 'Run it again with --yes.'),
  TM1010: spec(
    'the home folder cannot be used',
    1,
    'Check that TIDEMARK_HOME exists, is yours and is writable.',
  ),
  TM1011: spec(
    'a system call is missing or failed',
    1,
    'Run `tidemark doctor`; it says what the system lacks.',
  ),
  TM1012: spec(
    'the local state of a source is damaged',
    1,
    'Nothing was committed; run again: everything is read once more.',
    true,
  ),
  TM1099: spec('internal error', 1, 'Run again with --verbose and report what it prints.'),
  // 11xx: the source being read
  TM1101: spec('the folder to back up does not exist', 1, 'Check the path.'),
  TM1102: spec('the folder to back up cannot be read', 1, 'Run as a user who may list it.'),
  TM1103: spec(
    'the path to back up is not a folder',
    1,
    'Name a folder; a single file is backed up with its folder.',
  ),
  TM1104: spec(
    'the folder lies inside the store or home',
    1,
    'Back up another folder, or move the store or home elsewhere.',
  ),
  TM1105: spec(
    'the root looks emptied or replaced',
    1,
    'If that is intended (or after mounting it), run again with --accept-root.',
  ),
  TM1110: spec('could not be read', 3, 'Check permissions; its last known version stays in the backup.'),
  TM1111: spec(
    'changed while it was read',
    3,
    'The backup holds it as it was read; the next backup reads it again.',
  ),
  TM1112: spec('the path is too long', 3, 'Paths over 4,095 bytes are skipped; shorten the path.'),
  TM1113: spec(
    'a file system below the root is no longer mounted',
    3,
    'Mount it again; its entries stay in the backup as they were.',
  ),
  TM1114: spec(
    'a socket is not backed up',
    3,
    'Nothing to do: sockets are made by the programs that own them.',
  ),
  // 12xx: the store
  TM1201: spec(
    'the store cannot be reached',
    1,
    'Check TIDEMARK_STORE and that the place is mounted and writable.',
    true,
  ),
  TM1202: spec('there is no store here', 10, 'Check TIDEMARK_STORE; `tidemark init` makes a new one.'),
  TM1203: spec(
    'this is not the store that the registry knows',
    10,
    'Point TIDEMARK_STORE back to the old store; a new store needs a new home.',
  ),
  TM1204: spec('the store is full', 1, 'Free space; what was uploaded is used again.'),
  TM1205: spec(
    'an object of the store is missing',
    4,
    'Run `tidemark verify --read-data`; it names what is hit.',
  ),
  TM1206: spec(
    'an object of the store is damaged',
    4,
    'Run `tidemark verify --read-data`; it names what is hit.',
  ),
  TM1207: spec(
    'another registry owns this store',
    10,
    'Use that registry, or claim the store with `tidemark registry rebuild --take-over`.',
  ),
  TM1208: spec(
    'the store holds backups that this empty registry does not know',
    10,
    'Run `tidemark registry rebuild`.',
  ),
  TM1209: spec('the store was written by a newer Tidemark', 1, 'Upgrade Tidemark.'),
  TM1210: spec(
    'an object of that name exists already with other bytes',
    4,
    'Two writers used one name; run `tidemark verify`.',
  ),
  TM1211: spec('the store failed', 1, 'Check the disk or the service; then run again.', true),
  TM1212: spec(
    'the journal is broken',
    4,
    'An object of the chain is missing or altered; run `tidemark verify`.',
  ),
  TM1213: spec(
    'the registry does not know an object of the store',
    1,
    'It takes space and does no harm; an upload that did not end leaves such objects.',
  ),
  // 13xx: the registry
  TM1301: spec(
    'the registry cannot be reached',
    1,
    'Check TIDEMARK_REGISTRY_URL and that Postgres runs.',
    true,
  ),
  TM1302: spec(
    'the embedded Postgres does not start',
    1,
    'See the log named in the message; run `tidemark doctor`.',
  ),
  TM1303: spec('the registry failed', 1, 'Run `tidemark doctor`; see the message.', true),
  TM1304: spec('the registry was written by a newer Tidemark', 1, 'Upgrade Tidemark.'),
  TM1305: spec(
    'no embedded Postgres for this platform',
    1,
    'Set TIDEMARK_REGISTRY_URL to a Postgres of version 15 or newer.',
  ),
  // 14xx: keys
  TM1401: spec('the identity does not open this store', 1, 'Give the right one with --identity FILE.'),
  TM1402: spec(
    'the identity is missing',
    1,
    'Give it with --identity FILE, or put it back where the message says.',
  ),
  TM1403: spec(
    'the passphrase is wrong or missing',
    1,
    'Give it by --passphrase-file FILE or TIDEMARK_PASSPHRASE.',
  ),
  TM1404: spec('a key object is missing or damaged', 4, 'Put keys/ of the store back from a copy.'),
  TM1405: spec('a secret file is open to others', 1, 'chmod 600 the file that the message names.'),
  // 15xx: the stream from change events to commits
  TM1501: spec('another process holds this source', 11, 'Wait until it ends.', true),
  TM1502: spec('the backup was fenced by a newer owner', 1, 'Nothing was lost; run again.', true),
  TM1503: spec(
    'the state digest differs from the registry',
    1,
    'Nothing was committed; the next backup rebuilds the local state.',
    true,
  ),
  TM1504: spec('pieces of the backup are missing', 1, 'Nothing was committed; run again.', true),
  TM1505: spec('a message could not be parsed', 1, 'Nothing was committed; see the dead-letter queue.'),
  TM1506: spec(
    'a block that the backup names is not in the store',
    1,
    'Nothing was committed; run again.',
    true,
  ),
  TM1507: spec('the backup has ended already', 1, 'Nothing to do: a late message was dropped.'),
  TM1508: spec('interrupted', 130, 'Nothing is half done; what was uploaded is used again.', true),
  // 16xx: reading back
  TM1601: spec(
    'a block is damaged',
    4,
    'Run `tidemark verify --read-data`; take the files from another backup.',
  ),
  TM1602: spec('could not be restored', 3, 'See the message; the rest was restored.'),
  TM1603: spec('the target cannot be used', 1, 'Name a folder that you may write, outside store and home.'),
  TM1604: spec(
    'the entry has a name that cannot be restored',
    3,
    'The backup holds an unsafe name; it was refused.',
  ),
  TM1605: spec('the record is malformed', 4, 'The registry or a run is damaged; run `tidemark verify`.'),
  TM1606: spec(
    'the target is full',
    1,
    'Free space and run it again: what was restored already is not written a second time.',
  ),
  // 17xx: looking things up
  TM1701: spec('no such backup', 10, 'See `tidemark backups`.'),
  TM1702: spec('the label is ambiguous', 10, 'Give more of it; the candidates are listed.'),
  TM1703: spec('no such source', 10, 'See `tidemark backups`; name it with --source.'),
  TM1704: spec('no such path in this backup', 10, 'See `tidemark ls LABEL`.'),
  TM1705: spec('the backup is needed', 1, 'A kept differential depends on it, or it is pinned.'),
} as const satisfies Record<string, ErrorSpec>;

export type ErrorCode = keyof typeof ERRORS;

/** The one error type. `path` and `detail` are data for --json, never needed to understand `message`. */
export class TmError extends Error {
  readonly code: ErrorCode;
  readonly path: string | undefined;

  constructor(
    code: ErrorCode,
    detail?: string,
    options: { cause?: unknown; path?: string | undefined } = {},
  ) {
    super(detail ? `${ERRORS[code].title}: ${detail}` : ERRORS[code].title, { cause: options.cause });
    this.name = 'TmError';
    this.code = code;
    this.path = options.path;
  }

  get spec(): ErrorSpec {
    return ERRORS[this.code];
  }
}
