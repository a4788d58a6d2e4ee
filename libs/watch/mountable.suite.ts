import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Why nothing can be mounted here; undefined when it can. */
export function whyNoMounts(): string | undefined {
  const path = mkdtempSync(join(tmpdir(), 'watch-mount-'));
  try {
    if (spawnSync('/bin/mount', ['-t', 'tmpfs', 'watch-test', path]).status !== 0)
      return 'needs root and the right to mount';
    execFileSync('/bin/umount', [path]);
    return undefined;
  } finally {
    rmdirSync(path);
  }
}
