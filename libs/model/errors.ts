/**
 * Every error that Tidemark can report. `exit` is the command's exit code (2-cli), `retry` says whether the
 * same call may succeed later without anybody acting, `guidance` is the remedy shown under the message.
 * docs/errors.md is generated from this table.
 */
export interface ErrorSpec {
  readonly title: string;
  /** 0: a note, which asks for nothing. */
  readonly exit: 0 | 1 | 2 | 3 | 4 | 10 | 11 | 130;
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
    'Correct the value that the message names; docs/4-configuration.md says what each may be.',
  ),
  TM1003: spec('a confirmation is needed', 2, 'Run it again with --yes.'),
  TM1004: spec(
    'the output could not be written',
    1,
    'Check where standard output goes: a full disk, most likely.',
  ),
  TM1010: spec(
    'the home folder cannot be used',
    1,
    'Check that the home folder (TIDEMARK_HOME) is there, is yours and is writable; `tidemark doctor` looks.',
  ),
  TM1011: spec(
    'a system call is missing or failed',
    1,
    'Run `tidemark doctor`: it names the call that is missing, or the limit that is too low.',
  ),
  TM1012: spec(
    'the notes about a source in the home are damaged',
    1,
    'Run it again: nothing was committed, and the next backup reads everything once more.',
    true,
  ),
  TM1099: spec('internal error', 1, 'Run again with --verbose and report what it prints.'),
  // 11xx: the source being read
  TM1101: spec(
    'the folder to back up does not exist',
    1,
    'Check the path; if it lies on a disk of its own, check that the disk is mounted.',
  ),
  TM1102: spec('the folder to back up cannot be read', 1, 'Run as a user who may list the folder.'),
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
    'the folder looks emptied or replaced',
    1,
    'Mount what is missing and run again. Only if the folder was emptied or replaced on purpose: --accept-root.',
  ),
  TM1110: spec(
    'could not be read',
    3,
    'Let the user who runs Tidemark read it. The backup keeps its last known version.',
  ),
  TM1111: spec(
    'changed while it was read',
    3,
    'Nothing to do: the next backup reads it again. For a database or VM image, back up a snapshot or dump.',
  ),
  TM1112: spec(
    'the path is too long',
    3,
    'Shorten it: paths over 4,095 bytes and names over 255 bytes are left out of the backup.',
  ),
  TM1113: spec(
    'a file system below the root is no longer mounted',
    3,
    'Mount it again; until then the backup keeps its files as they were. If it is gone for good, name it with --exclude once.',
  ),
  TM1114: spec(
    'a socket is left out',
    0,
    'Nothing to do: sockets are made anew by the programs that own them.',
  ),
  TM1115: spec(
    'a view of the running system is left out',
    0,
    'Nothing to do: /proc and /sys are made anew at every start. The folder itself is in the backup.',
  ),
  TM1116: spec(
    'taken while it is being written',
    0,
    'Nothing to do: it is read again with the next backup. For a database or VM image, back up a snapshot or dump.',
  ),
  TM1117: spec(
    'a cache is left out',
    0,
    'Nothing to do: programs make such files again. To have them, take the folder back in: --exclude "!/path/to/it/".',
  ),
  TM1118: spec(
    'an ignore file is passed over',
    0,
    'Make .tidemarkignore a readable file of at most 1 MiB. Until then nothing is left out because of it.',
  ),
  TM1121: spec(
    'not every folder can be watched',
    1,
    'Raise fs.inotify.max_user_watches (sysctl), then start the watch again. Until then the whole tree is looked at every ten minutes.',
  ),
  TM1122: spec(
    'the folder can no longer be watched',
    1,
    'Bring it back, or mount what is missing: the watch goes on by itself then. A folder that was replaced on purpose: `tidemark backup DIR --accept-root`.',
    true,
  ),
  // 12xx: the store
  TM1201: spec(
    'the store cannot be reached',
    1,
    'Check that the place of the store (TIDEMARK_STORE) is mounted or can be reached, and that you may write there.',
    true,
  ),
  TM1202: spec(
    'there is no store here',
    10,
    'Check TIDEMARK_STORE and that the disk is mounted. For a new store: `tidemark init`, or a first `tidemark backup DIR`.',
  ),
  TM1203: spec(
    'this is not the store that the registry knows',
    10,
    'Point TIDEMARK_STORE to the store that was used before. For a new store, use a new home (--home).',
  ),
  TM1204: spec(
    'the store is full',
    1,
    'Free space where the store lies, then run it again: nothing was committed, and what was stored is used again.',
  ),
  TM1205: spec(
    'a part of the store is missing',
    4,
    'Run `tidemark verify --read-data`: it names the files that are hit.',
  ),
  TM1206: spec(
    'a part of the store is damaged',
    4,
    'Run `tidemark verify --read-data`: it names the files that are hit.',
  ),
  TM1207: spec(
    'another registry owns this store',
    10,
    'Use the home that the store belongs to; or claim it with `tidemark registry rebuild --take-over`, if that home is lost.',
  ),
  TM1208: spec(
    'the store holds backups that this empty registry does not know',
    10,
    'Run `tidemark registry rebuild`: it reads what the store holds into this registry.',
  ),
  TM1209: spec(
    'the store was written by a newer Tidemark',
    1,
    'Use the newer version of Tidemark that wrote it.',
  ),
  TM1210: spec(
    'a part of the store exists already with other content',
    4,
    'Run `tidemark verify`. Make sure that no copy of this home is in use elsewhere.',
  ),
  TM1211: spec(
    'the store failed',
    1,
    'See the message; check the disk (dmesg, SMART) or the network share. Then run it again.',
    true,
  ),
  TM1212: spec(
    'the journal is broken',
    4,
    'Restoring works. `tidemark verify` names what is missing or altered: put it back from a copy of the store. Without one, `tidemark registry rebuild` goes on after the gap and names what is lost.',
  ),
  TM1213: spec(
    'the registry does not know an object of the store',
    1,
    'It takes space and does no harm; an upload that did not end leaves such objects.',
  ),
  TM1214: spec(
    'the store refuses this',
    1,
    'Give the account of these credentials the role that the message names, on the bucket (docs/7-google-cloud-storage.md); `tidemark doctor` tries it.',
  ),
  // 13xx: the registry
  TM1301: spec(
    'the registry cannot be reached',
    1,
    'Check TIDEMARK_REGISTRY_URL and that Postgres runs; `tidemark doctor` tries it.',
    true,
  ),
  TM1302: spec(
    'the embedded Postgres does not start',
    1,
    'Read the log that the message names, and run `tidemark doctor`: a full disk or a wrong owner, most often.',
  ),
  TM1303: spec('the registry failed', 1, 'See the message. Run `tidemark doctor`; then run it again.', true),
  TM1304: spec(
    'the registry was written by a newer Tidemark',
    1,
    'Use the newer version of Tidemark that wrote it.',
  ),
  TM1305: spec(
    'no embedded Postgres for this platform',
    1,
    'Run on Linux with glibc on x64 or arm64; or set TIDEMARK_REGISTRY_URL to a Postgres of version 15 or newer.',
  ),
  // 14xx: keys
  TM1401: spec(
    'the identity does not open this store',
    1,
    'Give the one that was made with the store: --identity FILE.',
  ),
  TM1402: spec(
    'the identity is missing',
    1,
    'Give it with --identity FILE, or put your copy back where the message says.',
  ),
  TM1403: spec(
    'the passphrase is wrong or missing',
    1,
    'Give it with --passphrase-file FILE or TIDEMARK_PASSPHRASE.',
  ),
  TM1404: spec(
    'a key object is missing or damaged',
    4,
    'Put the folder keys of the store back from a copy of the store.',
  ),
  TM1405: spec('a secret file may be read by others', 1, 'chmod 600 the file that the message names.'),
  // 15xx: the stream from change events to commits
  TM1501: spec('another process is at work here', 11, 'Wait until it ends, then run it again.', true),
  TM1502: spec(
    'the backup was ended by another process',
    1,
    'Run it again: nothing was committed, and what was stored is used again.',
    true,
  ),
  TM1503: spec(
    'the registry does not agree with what was read',
    1,
    'Run it again: nothing was committed, and the next backup compares everything anew.',
    true,
  ),
  TM1504: spec('pieces of the backup are missing', 1, 'Run it again: nothing was committed.', true),
  TM1505: spec(
    'a message could not be parsed',
    1,
    'Run it again: nothing was committed. If it comes back, report it with what --verbose prints.',
  ),
  TM1506: spec(
    'a block that the backup names is not in the store',
    1,
    'Run it again: nothing was committed, and what is missing is stored.',
    true,
  ),
  TM1507: spec('the backup has ended already', 1, 'Nothing to do: what came late was dropped.'),
  TM1508: spec(
    'interrupted',
    130,
    'Run it again when you like: nothing is half done, and what was stored is used again.',
    true,
  ),
  TM1510: spec(
    'a message does not carry the MAC of its backup',
    1,
    'Look at the dead-letter topic: somebody who does not belong there writes to the topics, or an agent was copied. Backups go on.',
  ),
  TM1511: spec(
    'a message is too large',
    1,
    'Run the backup again. If it comes back, report it: no message of ours grows with a file.',
  ),
  TM1512: spec(
    'the agent went silent',
    1,
    'Look at the agent on that host, then run the backup again: what was stored is used again.',
    true,
  ),
  TM1513: spec(
    'the backup came to a halt',
    1,
    'Check that calculators and writers run, then run the backup again: what was stored is used again.',
    true,
  ),
  TM1514: spec(
    'a message of a newer version',
    1,
    'Upgrade this service: the messages wait until then, none is lost.',
    true,
  ),
  TM1515: spec(
    'Kafka cannot be reached',
    1,
    'Check TIDEMARK_KAFKA_BROKERS, the network and the credentials; `tidemark doctor` looks.',
    true,
  ),
  TM1516: spec(
    'a topic is missing or not as it should be',
    1,
    "Run the control plane's `setup` once: it makes the topics, and says what differs.",
  ),
  TM1521: spec(
    'another process watches this folder',
    11,
    'One watch for each folder: end the other one first. `tidemark status` shows it.',
    true,
  ),
  // 16xx: reading back
  TM1601: spec(
    'a piece of a file is damaged in the store',
    4,
    'Run `tidemark verify --read-data` to see what is hit; take the file from another backup.',
  ),
  TM1602: spec('could not be restored', 3, 'See the message; everything else was restored.'),
  TM1603: spec(
    'the target cannot be used',
    1,
    'Name a folder that you may write, outside of the store and the home.',
  ),
  TM1604: spec(
    'the entry has a name that cannot be restored',
    3,
    'Nothing to do: the name could have led outside of the target, and was refused.',
  ),
  TM1605: spec(
    'a record of the registry or the store is malformed',
    4,
    'Run `tidemark verify`; if the store is sound, `tidemark registry rebuild` makes the registry anew.',
  ),
  TM1606: spec(
    'the target is full',
    1,
    'Free space and run it again: what was restored already is not written a second time.',
  ),
  // 17xx: looking things up
  TM1701: spec('no such backup', 10, 'See `tidemark backups` for those that there are.'),
  TM1702: spec(
    'the label is ambiguous',
    10,
    'Give more of the label, or name the folder with --source DIR; the message lists the candidates.',
  ),
  TM1703: spec('no such source', 10, 'See `tidemark backups` for the folders that were backed up.'),
  TM1704: spec('no such path in this backup', 10, 'See `tidemark ls LABEL` for what is in it.'),
  TM1705: spec(
    'the backup is needed',
    1,
    'See `tidemark backups`: a kept differential depends on it, or it is pinned (`tidemark pin LABEL --off`).',
  ),
  // 18xx: services and their API
  TM1801: spec(
    'the token is not accepted',
    1,
    'Check the token (TIDEMARK_TOKEN); an administrator can issue a new one.',
  ),
  TM1802: spec(
    'the token does not allow that',
    1,
    'Use a token of the role that is needed: reader for looking and restoring, admin for changing.',
  ),
  TM1803: spec(
    "another process uses this agent's identity",
    11,
    'End the other process, or enrol this host as an agent of its own: two hosts must not share one identity.',
    true,
  ),
  TM1804: spec(
    'the enrolment token is used up',
    1,
    'Have an administrator issue a new one: each enrols one agent, within its time.',
  ),
  TM1805: spec(
    'the server cannot be reached',
    1,
    "Check the URL of the server and the network; the server's /health/ready says whether it is well.",
    true,
  ),
  TM1806: spec(
    "the server's answer makes no sense",
    1,
    'Check that the URL is that of a Tidemark server of the same version.',
  ),
  TM1807: spec(
    'the request is not valid',
    2,
    "Correct what the message names; the server's /openapi.json says what a request may hold.",
  ),
  TM1808: spec('the server is busy', 1, 'Wait a little: the same request will be taken.', true),
  TM1809: spec('the request is too large', 1, 'Send it in smaller pieces.'),
  TM1810: spec(
    'the stream of frames is cut or malformed',
    1,
    'Send the same frames again: nothing of them was stored.',
    true,
  ),
  TM1811: spec(
    'there is no such thing',
    10,
    'Check the id or path; the lists of the API show what there is.',
  ),
  TM1812: spec(
    'the policy is not valid',
    2,
    'Correct what the message names; `tidemark --help` shows where to look.',
  ),
  TM1813: spec(
    'the job has ended or belongs to somebody else',
    1,
    'Nothing to do: it was given to another agent, or is done.',
  ),
} as const satisfies Record<string, ErrorSpec>;

export type ErrorCode = keyof typeof ERRORS;

/** Whether a code (or its number) only tells something: it asks for nothing and changes no exit code. */
export const isNote = (code: ErrorCode | number): boolean =>
  ERRORS[typeof code === 'number' ? (`TM${code}` as ErrorCode) : code].exit === 0;

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
