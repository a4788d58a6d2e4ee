import type { ErrorCode } from './errors.ts';

/** How each error comes about, for docs/errors.md; loaded by no command. */
export const CAUSES: Readonly<Record<ErrorCode, string>> = {
  TM1001: 'A command, option or argument is unknown, missing, or does not go with another one.',
  TM1002: 'The value of an option or variable is not of the form that it needs. Nothing was done.',
  TM1003: 'The command would remove something or change who owns it, and there is nobody to ask.',
  TM1004:
    'Standard output goes to a file on a full disk, or to a device that refuses it. A reader that merely went away (`| head`) is no error.',
  TM1010:
    'The folder in which registry, state and keys lie cannot be made, read or written: another user’s, read-only, full, or no folder.',
  TM1011:
    'The kernel or a container’s filter refuses a call that Tidemark needs, or open files or memory ran out.',
  TM1012:
    'The file that tells what was unchanged since the last backup has been altered, or the disk gave other bytes than were written.',
  TM1099: 'A mistake in Tidemark, or a situation that it does not know yet.',
  TM1101: 'Nothing has that path: a misspelling, or a disk that is not mounted.',
  TM1102: 'The user who runs Tidemark may not list the folder, or the disk gives errors.',
  TM1103: 'The path is a file, device or socket.',
  TM1104: 'A backup of the store or the home would contain itself and grow with every run.',
  TM1105:
    'The folder has no names left, or it is another folder than before and lacks half of the names: typically a disk that is not mounted. Taking that for deletions would empty the backup.',
  TM1110: 'Permissions, or an error of the disk. All else was backed up; exit code 3.',
  TM1111:
    'A program wrote to the file each time it was read. The backup may hold parts of two versions of it.',
  TM1112: 'The system itself cannot open longer paths. What lies deeper is not in the backup; exit code 3.',
  TM1113:
    'At the last backup a file system was mounted there. Its absence is not taken for deletions. Where the notes in the home were lost (a new home, a rebuilt registry), a folder counts as one that is empty now and held files of another device.',
  TM1114:
    'Sockets have no content; restoring one would serve nobody. This is a note, not an error: it changes no exit code.',
  TM1115:
    'File systems of the types proc and sysfs hold no files of anybody: their content is the state of the kernel. This is a note: it changes no exit code.',
  TM1116:
    'A watch waits until a file is quiet, but not for ever: this one was written to for so long that it was taken all the same, so that its content may mix several moments. This is a note: it changes no exit code.',
  TM1117:
    'The folder holds a file CACHEDIR.TAG, by which a program says that what is in it can be made again. The folder and its tag are in the backup, what else is in it is not. This is a note: it changes no exit code.',
  TM1118:
    'The file .tidemarkignore of that folder cannot be read, is a link or a folder, or is larger than any list of patterns. This is a note: it changes no exit code.',
  TM1121:
    'The kernel keeps a watch for each folder and allows a user only so many. Changes in the others are found by a look at the whole tree, and `coverage` shows the time before it as a gap.',
  TM1122:
    'It was deleted, moved, replaced or unmounted while it was watched. What happens until it is watched again is a gap that a look at the whole tree closes.',
  TM1201:
    'The folder of the store is gone, read-only, or not yours; or a network share or bucket does not answer.',
  TM1202:
    'The folder does not exist or holds no store. Where the registry knows a store, none is ever made in its place.',
  TM1203:
    'Another store lies where the registry’s store was: another disk under the same mount point, or a wrong TIDEMARK_STORE.',
  TM1204: 'The file system of the store has no space, no inodes or no quota left.',
  TM1205:
    'An object that the registry or the journal names is not in the store: removed by hand, or lost with the disk.',
  TM1206: 'An object’s bytes are not those that were written: a failing disk, or somebody changed them.',
  TM1207: 'The store was made or claimed by another registry; two writers would damage each other’s work.',
  TM1208:
    'The home is new (or was lost), but the store holds backups. Starting anew beside them would hide them.',
  TM1209: 'The store has a format that this version does not know.',
  TM1210:
    'Two processes gave the same name to different things, which one home prevents: a copied home, most likely.',
  TM1211: 'The disk or network share of the store gave an error.',
  TM1212: 'The journal is a chain of objects; one is missing, altered, or out of place.',
  TM1213:
    'An upload that was cut short left it, or a registry that is gone wrote it. `verify` counts such objects.',
  TM1214:
    'The bucket knows no such credentials, or the account lacks a right on it; or there are no credentials at all.',
  TM1301: 'Postgres does not run, does not answer at that address, or refuses user and password.',
  TM1302: 'The Postgres that Tidemark runs in the home gave up while starting.',
  TM1303: 'Postgres reported an error, or gave an answer that cannot be.',
  TM1304: 'The registry’s tables come from a later version.',
  TM1305: 'The packages with Postgres’ binaries exist for Linux with glibc on x64 and arm64.',
  TM1401: 'The identity is a valid one, but the store’s keys were not made for it.',
  TM1402: 'The identity file is not there. Backups go on without it; reading back needs it.',
  TM1403: 'The identity file is protected by a passphrase.',
  TM1404:
    'A file below keys/ in the store is gone or altered. Without it, what was encrypted with it cannot be read.',
  TM1405: 'The permissions of the identity or another secret let others read it.',
  TM1501:
    'A backup of this folder is under way, and one at a time is allowed; or `prune` met a backup, restore or check that uses the store.',
  TM1502:
    'While the backup was open, another process took over the folder, or the backup was given up for dead.',
  TM1503:
    'Before a commit, the registry’s own account of all entries is compared with that of the reader. They differ: damaged notes in the home, or a mistake in Tidemark.',
  TM1504: 'Not all that was read has arrived; a backup is never committed smaller than it is.',
  TM1505: 'A message between the stages was damaged or of an unknown form.',
  TM1506: 'A block vanished from the store between the question for it and the commit.',
  TM1507: 'A message of a backup came after its end.',
  TM1508: 'Ctrl-C or a signal to end.',
  TM1510:
    'The message was not written by the agent or calculator of that backup. It lies in the dead-letter topic, was counted, and did no harm.',
  TM1511: 'A message of more than 1 MiB came in or was about to go out.',
  TM1512:
    'The agent that held the source did not renew its lease for a minute: it died, lost its network, or its host slept.',
  TM1513: 'The agent had sent everything, but for ten minutes nothing of it was applied.',
  TM1514:
    'An agent or calculator that is newer than this service wrote the message. The partition is paused.',
  TM1515: 'No broker answers at the given addresses, or none accepts the credentials or the certificate.',
  TM1516: 'Topics are never made by accident: `setup` makes them with partitions and retention stated.',
  TM1521: 'A `tidemark watch` of the same folder runs, from the same home.',
  TM1601: 'After decryption, a block’s content does not match its name.',
  TM1602: 'Permissions, a full disk, or a file system without owners, attributes or links at the target.',
  TM1603: 'The target is not writable, is no folder, or lies inside the store or the home.',
  TM1604: 'A name is empty, `.`, `..`, or contains a slash: no backup of a real folder has such names.',
  TM1605: 'Bytes that should describe an entry do not follow the format.',
  TM1606: 'The file system of the target has no space, no inodes or no quota left.',
  TM1701: 'No committed backup has that label, or none was committed until that time.',
  TM1702: 'Several backups fit, perhaps of several folders.',
  TM1703: 'No backup was made of that folder from this host; a folder of another host is AGENT:DIR.',
  TM1704: 'The backup holds no entry of that path. Paths are relative to the folder that was backed up.',
  TM1705: 'Expiring it would break a differential that is kept, or a promise that was made with `pin`.',
  TM1801: 'The request carries no token, an unknown one, or one that was revoked or has expired.',
  TM1802: 'The token is valid, but for another role or another agent’s backups.',
  TM1803:
    'Two processes signed on with one agent token: a copied home or virtual machine, or two agents on one home. The second one is refused until the first has signed off or was silent for a minute.',
  TM1804: 'An enrolment token works once and for a limited time.',
  TM1805: 'Nothing answers at the URL, the connection broke, or the answer did not come in time.',
  TM1806: 'Something else answers at the URL, or the server is of a version that this program does not know.',
  TM1807: 'A parameter or the body is not of the form that the route needs.',
  TM1808:
    'More requests came at once than the server takes, or one of its own services is away for a moment.',
  TM1809: 'The body is larger than the route takes.',
  TM1810: 'The connection broke in the middle of the body, or a length or checksum in it is wrong.',
  TM1811: 'The path or the id names nothing that this server knows, or nothing that the token may see.',
  TM1812: 'An interval, a time or a name in the policy is not of the form that it needs.',
  TM1813: 'An agent reported on a job whose lease it had lost.',
};
