import { type Finding, failed, ok, warning } from './finding.ts';

export interface VersionFacts {
  readonly tidemark: string;
  /** Of the running process, without the v. */
  readonly node: string;
  readonly pinnedNode: string;
  /** `${process.platform}-${process.arch}`. */
  readonly platform: string;
  /** As uname -r says. */
  readonly kernel: string;
  /** Undefined where the C library is another one. */
  readonly glibc: string | undefined;
}

const PLATFORMS = ['linux-x64', 'linux-arm64'];
/** openat2, which keeps restores inside their target, came with 5.6. */
const KERNEL = [5, 6];
/** What the pinned Node needs. */
const GLIBC = [2, 28];

function isBelow(version: string, [major = 0, minor = 0]: readonly number[]): boolean {
  const [a = 0, b = 0] = version.split('.').map((part) => Number.parseInt(part, 10));
  return a < major || (a === major && b < minor);
}

export function checkVersions(facts: VersionFacts): Finding[] {
  return [
    ok('tidemark', `version ${facts.tidemark}`),
    node(facts),
    platform(facts),
    kernel(facts),
    glibc(facts),
  ];
}

function node({ node: version, pinnedNode }: VersionFacts): Finding {
  if (version === pinnedNode) return ok('node', `version ${version}, the pinned one`);
  const text = `version ${version}, Tidemark is made for ${pinnedNode}`;
  return warning('node', text, 'Start Tidemark through ./tidemark, which brings its own Node.');
}

function platform({ platform: is }: VersionFacts): Finding {
  if (PLATFORMS.includes(is)) return ok('platform', is);
  return failed('platform', `${is} is not supported`, 'Use Linux on x64 or arm64.');
}

function kernel({ kernel: version }: VersionFacts): Finding {
  if (!isBelow(version, KERNEL)) return ok('kernel', `Linux ${version}`);
  const text = `Linux ${version} is older than ${KERNEL.join('.')}; some safeguards are done without its help`;
  return warning('kernel', text, 'Upgrade the kernel when you can.');
}

function glibc({ glibc: version }: VersionFacts): Finding {
  if (version === undefined) {
    return failed('glibc', 'the C library is not glibc', 'Use a distribution with glibc, not musl (Alpine).');
  }
  if (!isBelow(version, GLIBC)) return ok('glibc', `version ${version}`);
  return failed('glibc', `version ${version} is older than ${GLIBC.join('.')}`, 'Upgrade the distribution.');
}
