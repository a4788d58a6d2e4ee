import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import { afterAll, afterEach, expect, test } from 'vitest';
import { Command, query, TestHome, until } from './fixtures.suite.ts';
import { acquireEmbeddedPostgres, stopEmbeddedPostgres } from './index.ts';

let fresh: TestHome | undefined;
/** Has to be usable after every crash that the tests bring about. */
const home = new TestHome();
const acquire = (idleSeconds = 30) => acquireEmbeddedPostgres({ home: home.home, idleSeconds });

afterEach(async () => {
  await fresh?.dispose();
  fresh = undefined;
  await stopEmbeddedPostgres(home.home);
});
afterAll(() => home.dispose());

const listing = (dir: string): string[] => (existsSync(dir) ? readdirSync(dir) : []);
const isThere =
  (pattern: RegExp) =>
  (test: TestHome): boolean =>
    listing(test.place).some((name) => pattern.test(name));
const MOMENTS: readonly [string, (test: TestHome) => boolean][] = [
  ['the binaries are being installed', isThere(/^staging-pg-/)],
  ['the data directory is being made', isThere(/^staging-data-/)],
  ['the data directory is there', isThere(/^data$/)],
  ['the server is starting', (test) => existsSync(join(test.place, 'data/postmaster.pid'))],
];

test.each(MOMENTS)('command killed in a first start when %s', async (what, reached) => {
  const test = new TestHome();
  fresh = test;
  const command = new Command(test.home, { idleSeconds: 0 });
  await until(what, () => reached(test));
  await command.kill();
  const pg = await acquireEmbeddedPostgres({ home: test.home });
  expect(await query(pg, 'select 1')).toEqual([[1]]);
  expect(listing(test.place).filter((name) => name.startsWith('staging-'))).toEqual([]);
  await pg.release();
});

test('command killed while it uses the server: committed data stays, the server stops when idle', async () => {
  const command = new Command(home.home, { idleSeconds: 1 });
  await command.acquired;
  const pg = await acquire();
  await query(pg, 'create table if not exists kept as select 7 as n');
  await pg.release();
  await command.kill();
  const next = await acquire();
  expect(await query(next, 'select n from kept')).toEqual([[7]]);
  await next.release();
  await home.nothingRuns();
});

test('supervisor killed: the next command brings another, which stops the server', async () => {
  await (await acquire()).release();
  const [server, supervisor] = [await home.pid(), await home.supervisor()];
  process.kill(supervisor, 'SIGKILL');
  const pg = await acquire(1);
  expect(await home.pid()).toBe(server);
  expect(await home.supervisor()).not.toBe(supervisor);
  await pg.release();
  await until('the server stops', async () => (await home.pid()) === undefined);
});

test('server killed while a client is connected: the next command starts it anew', async () => {
  const pg = await acquire();
  await query(pg, 'create table if not exists kept as select 7 as n');
  const client = new Client(pg.connection);
  const broken = new Promise((resolve) => client.on('error', resolve));
  await client.connect();
  const server = (await home.pid())!;
  process.kill(server, 'SIGKILL');
  await until('the server is dead', () => !existsSync(`/proc/${server}`));
  const next = await acquire();
  expect(await home.pid()).not.toBe(server);
  expect(await query(next, 'select n from kept')).toEqual([[7]]);
  await broken;
  await pg.release();
  await next.release();
});

test('server killed and its pid passed to another process of the same user, as after a reboot', async () => {
  await (await acquire()).release();
  const data = join(home.place, 'data');
  process.kill(await home.supervisor(), 'SIGKILL');
  process.kill((await home.pid())!, 'SIGKILL');
  await until('the server is gone', async () => (await home.pid()) === undefined);
  const { uid, gid } = statSync(data);
  const other = spawn('sleep', ['60'], { stdio: 'ignore', ...(process.getuid!() === 0 ? { uid, gid } : {}) });
  const pidFile = join(data, 'postmaster.pid');
  writeFileSync(pidFile, readFileSync(pidFile, 'utf8').replace(/^\d+/, String(other.pid)));
  const pg = await acquire();
  expect(await query(pg, 'select 1')).toEqual([[1]]);
  expect(other.kill(0)).toBe(true);
  other.kill('SIGKILL');
  await pg.release();
});

test('server killed when it had just created postmaster.pid', async () => {
  await (await acquire()).release();
  await stopEmbeddedPostgres(home.home);
  writeFileSync(join(home.place, 'data/postmaster.pid'), '');
  const pg = await acquire();
  expect(await query(pg, 'select 1')).toEqual([[1]]);
  await pg.release();
});

test('socket removed under a running server: the server is replaced', async () => {
  const pg = await acquire();
  const server = await home.pid();
  rmSync(join(pg.connection.host, '.s.PGSQL.5432'));
  const next = await acquire();
  expect(await home.pid()).not.toBe(server);
  expect(await query(next, 'select 1')).toEqual([[1]]);
  await pg.release();
  await next.release();
});

test('a stop that was interrupted is waited for', async () => {
  const pg = await acquire();
  const client = new Client(pg.connection);
  client.on('error', () => {});
  await client.connect();
  process.kill((await home.pid())!, 'SIGTERM'); // waits for its clients, and takes no new ones
  await until('it is stopping', () =>
    readFileSync(join(home.place, 'data/postmaster.pid'), 'utf8').includes('stopping'),
  );
  const next = acquire();
  await client.end();
  expect(await query(await next, 'select 1')).toEqual([[1]]);
  await pg.release();
  await (await next).release();
});
