import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stopEmbeddedPostgres } from '../../../libs/registry/embedded/index.ts';
import type { Stack } from '../../services/stack.ts';

const CLI = join(import.meta.dirname, '../../../dist/apps/cli/main.js');
const TREEDIFF = join(import.meta.dirname, '../../cycle/treediff.py');

export const run = (program: string, ...args: string[]): void => {
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
};

/** Restores a source's newest backup with nothing but the store and the identity; throws unless it equals the tree. */
export async function checkRestored(stack: Stack, base: string, source: string, tree: string): Promise<void> {
  const [home, identity, out] = [join(base, 'home'), join(base, 'identity'), join(base, 'restored')];
  mkdirSync(home, { mode: 0o711 });
  writeFileSync(identity, `${stack.identity}\n`, { mode: 0o600 });
  const env = { PATH: process.env.PATH, TIDEMARK_HOME: home };
  const tidemark = (...args: string[]) =>
    execFileSync(process.execPath, [CLI, ...args, '--store', stack.storeUrl, '--identity', identity], {
      env,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  try {
    tidemark('registry', 'rebuild');
    tidemark('restore', 'latest', '--source', source, '--to', out);
    run('python3', TREEDIFF, tree, out);
  } finally {
    await stopEmbeddedPostgres(home);
  }
}
