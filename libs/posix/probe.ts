import { AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_DIRECTORY, O_RDONLY } from './constants.ts';
import { ENOSYS, EPERM } from './errno.ts';
import { attempt, libc } from './libc.ts';
import { close, openat2 } from './open.ts';
import { first } from './scratch.ts';
import { Stat, statx } from './stat.ts';

const HERE = Buffer.from('.');
/** No file has an empty name, so the call changes nothing. */
const NOTHING = Buffer.alloc(0);

/** Which of the newer system calls the kernel lacks, or a container's filter refuses. Changes nothing. */
export function missingSystemCalls(): string[] {
  const descriptor = openat2(AT_FDCWD, HERE, O_RDONLY | O_DIRECTORY, 0, 0);
  if (descriptor >= 0) close(descriptor);
  const results: Readonly<Record<string, number>> = {
    statx: statx(AT_FDCWD, HERE, new Stat()),
    openat2: descriptor,
    fchmodat2: attempt(() => libc.fchmodat2(AT_FDCWD, first.put(NOTHING), 0, AT_SYMLINK_NOFOLLOW)),
  };
  return Object.keys(results).filter((name) => results[name] === -ENOSYS || results[name] === -EPERM);
}
