import { type Finding, failed, ok, warning } from './finding.ts';

export interface HostFacts {
  /** Soft limit of open files; undefined where it cannot be read, Infinity where there is none. */
  readonly openFiles: number | undefined;
  readonly inotifyWatches: number | undefined;
  /** Programs that were looked for and are not in PATH. */
  readonly missingTools: readonly string[];
  /** Names of system calls that the kernel, or a container's filter, refuses. */
  readonly missingCalls: readonly string[];
  /** Whether the file system of the home (or of the folder above it) has extended attributes. */
  readonly hasXattrs: boolean;
}

const OPEN_FILES = 1024;
const WATCHES = 65_536;
/** What is done without a call. */
const FALLBACKS: Readonly<Record<string, string>> = {
  openat2: 'paths are walked one by one instead',
  fchmodat2: 'modes are set by way of /proc instead',
};

export function checkHost(facts: HostFacts): Finding[] {
  return [openFiles(facts), watches(facts), tools(facts), ...calls(facts), xattrs(facts)];
}

function openFiles({ openFiles: limit }: HostFacts): Finding {
  if (limit === undefined) return ok('open-files', 'the limit cannot be read here');
  const text = `${limit === Number.POSITIVE_INFINITY ? 'any number of' : limit} files may be open`;
  if (limit >= OPEN_FILES) return ok('open-files', text);
  return warning('open-files', `only ${text}`, `ulimit -n ${OPEN_FILES}, or LimitNOFILE= of the service.`);
}

function watches({ inotifyWatches: limit }: HostFacts): Finding {
  if (limit === undefined) return ok('inotify', 'the limit cannot be read here');
  const text = `${limit} folders may be watched`;
  if (limit >= WATCHES) return ok('inotify', text);
  const guidance = `For watching large trees: sysctl fs.inotify.max_user_watches=${WATCHES * 8}`;
  return warning('inotify', `only ${text}`, guidance);
}

function tools({ missingTools }: HostFacts): Finding {
  if (missingTools.length === 0) return ok('tools', 'what Tidemark calls is there');
  const guidance = 'Install util-linux; ./tidemark cannot build without it.';
  return warning('tools', `not found: ${missingTools.join(', ')}`, guidance);
}

function calls({ missingCalls }: HostFacts): Finding[] {
  if (missingCalls.length === 0) return [ok('system-calls', 'all are there')];
  return missingCalls.map((name) => {
    const fallback = FALLBACKS[name];
    if (fallback) return ok('system-calls', `${name} is missing; ${fallback}`);
    const guidance = 'Upgrade the kernel, or let the container’s seccomp profile allow it.';
    return failed('system-calls', `${name} is missing`, guidance);
  });
}

function xattrs({ hasXattrs }: HostFacts): Finding {
  if (hasXattrs) return ok('xattrs', 'extended attributes can be kept where the home lies');
  const guidance =
    'Restore to a file system with extended attributes, else they and ACLs are reported as lost.';
  return warning('xattrs', 'the file system of the home has no extended attributes', guidance);
}
