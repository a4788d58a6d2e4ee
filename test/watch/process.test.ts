import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';

const SCRIPT = join(import.meta.dirname, 'watching-process.ts');
const LIMIT = 20;

function tree(directories: number): string {
  const root = mkdtempSync(join(tmpdir(), 'watch-'));
  onTestFinished(() => rmSync(root, { recursive: true }));
  for (let i = 0; i < directories; i++) mkdirSync(join(root, `d${i}`));
  return root;
}

describe('a process that watches', () => {
  it('can exit while a thread of it sleeps in the kernel', () => {
    expect(spawnSync(process.execPath, [SCRIPT, tree(3), 'exit'], { timeout: 20_000 }).status).toBe(7);
  });

  it('is told when it may not watch more directories', (context) => {
    const command = `echo ${LIMIT} > /proc/sys/user/max_inotify_watches && exec "$@"`;
    const inNamespace = ['--user', '--map-root-user', 'sh', '-c', command, 'sh'];
    const can = spawnSync('unshare', [...inNamespace, 'true']);
    if (can.status !== 0) return context.skip('needs a user namespace whose limits can be set');
    const run = spawnSync('unshare', [...inNamespace, process.execPath, SCRIPT, tree(2 * LIMIT), 'limit'], {
      timeout: 20_000,
      encoding: 'utf8',
    });
    expect(run.stdout).toBe('watch-limit');
  });
});
