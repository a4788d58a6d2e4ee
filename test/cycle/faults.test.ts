import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stopEmbeddedPostgres } from '../../libs/registry/embedded/index.ts';

const MAIN = join(import.meta.dirname, '../../apps/cli/main.ts');

let base: string;
let source: string;
const home = (name = 'home') => join(base, name);
const envOf = (name: string, store: string) => ({
  ...process.env,
  TIDEMARK_HOME: home(name),
  TIDEMARK_STORE: join(base, store),
  TIDEMARK_PG_IDLE_SECONDS: '1',
});

function tidemark(
  args: string[],
  env: NodeJS.ProcessEnv = envOf('home', 'store'),
): { status: number | null; code: unknown; text: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args, '--json'], {
    env,
    encoding: 'utf8',
  });
  const errors = stdout.split('\n').filter((line) => line.includes('"type":"error"'));
  return {
    status,
    code: errors.length === 0 ? undefined : JSON.parse(errors.at(-1)!).code,
    text: stdout + stderr,
  };
}

/** A full backup that is under way: its row is open, since it says progress or made files in the source's state. */
async function running(): Promise<{ kill: (signal: NodeJS.Signals) => void; ended: Promise<number | null> }> {
  const child = spawn(process.execPath, [MAIN, 'backup', source, '--full', '--json'], {
    env: envOf('home', 'store'),
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  await new Promise<void>((resolve) => child.stdout.once('data', () => resolve()));
  return { kill: (signal) => child.kill(signal), ended };
}

beforeAll(() => {
  base = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'tidemark-faults-'));
  chmodSync(base, 0o711);
  source = join(base, 'source');
  for (let i = 0; i < 20; i++) {
    mkdirSync(join(source, `d${i}`), { recursive: true });
    for (let j = 0; j < 150; j++)
      writeFileSync(join(source, `d${i}`, `f${j}`), Buffer.alloc(20_000, `${i} ${j} `));
  }
  expect(tidemark(['backup', source]).status).toBe(0);
});

afterAll(async () => {
  for (const name of ['home', 'other', 'second']) await stopEmbeddedPostgres(home(name));
  rmSync(base, { recursive: true, force: true });
});

test('a second backup of a source that is being backed up is refused with 11', async () => {
  const first = await running();
  first.kill('SIGSTOP'); // it holds the source for as long as the second one looks
  expect(tidemark(['backup', source])).toMatchObject({ status: 11, code: 'TM1501' });
  first.kill('SIGCONT');
  expect(await first.ended).toBe(0);
});

test('SIGINT and SIGTERM end a backup with 130, and the next one works', async () => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    const backup = await running();
    backup.kill(signal);
    expect(await backup.ended).toBe(130);
    expect(tidemark(['backup', source]).status).toBe(0);
  }
});

test('a wrong or missing identity is told from the right one', () => {
  expect(tidemark(['init'], envOf('other', 'other-store')).status).toBe(0);
  const restore = (...more: string[]) =>
    tidemark(['restore', 'latest', '--to', join(base, 'target'), ...more]);
  expect(restore('--identity', join(home('other'), 'identity'))).toMatchObject({ status: 1, code: 'TM1401' });
  renameSync(join(home(), 'identity'), join(base, 'kept-elsewhere'));
  expect(restore()).toMatchObject({ status: 1, code: 'TM1402' });
  expect(tidemark(['backup', source]).status).toBe(0); // writing needs no identity
  expect(restore('--identity', join(base, 'kept-elsewhere')).status).toBe(0);
  renameSync(join(base, 'kept-elsewhere'), join(home(), 'identity'));
  chmodSync(join(home(), 'identity'), 0o644);
  expect(restore()).toMatchObject({ status: 1, code: 'TM1405' });
  chmodSync(join(home(), 'identity'), 0o600);
});

test('a missing or different store is an error, never a new store', () => {
  renameSync(join(base, 'store'), join(base, 'moved'));
  expect(tidemark(['backup', source])).toMatchObject({ status: 10, code: 'TM1202' });
  expect(existsSync(join(base, 'store'))).toBe(false);
  renameSync(join(base, 'moved'), join(base, 'store'));
  expect(tidemark(['backup', source], envOf('home', 'other-store'))).toMatchObject({
    status: 10,
    code: 'TM1203',
  });
});

test('an empty registry over a full store is refused with the way out', () => {
  expect(tidemark(['backup', source], envOf('second', 'store'))).toMatchObject({
    status: 10,
    code: 'TM1208',
  });
});

test('an unreachable Postgres is said without its password', () => {
  const env = {
    ...envOf('home', 'store'),
    TIDEMARK_REGISTRY_URL: 'postgres://someone:very-secret@127.0.0.1:1/db',
  };
  const result = tidemark(['backups', '--verbose'], env);
  expect(result).toMatchObject({ status: 1, code: 'TM1301' });
  expect(result.text).not.toContain('very-secret');
});

test('secrets of a home are for its owner only', () => {
  for (const file of ['identity', 'agent/domain.json', 'registry/secret']) {
    expect(readFileSync(join(home(), file)).length).toBeGreaterThan(20);
    expect(spawnSync('stat', ['-c', '%a', join(home(), file)], { encoding: 'utf8' }).stdout.trim()).toBe(
      '600',
    );
  }
});
