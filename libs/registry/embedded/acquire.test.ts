import { mkdirSync, readFileSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, expect, test } from 'vitest';
import { Command, query, TestHome, until } from './fixtures.suite.ts';
import {
  acquireEmbeddedPostgres,
  embeddedPostgresStatus,
  OldDataDirectory,
  setAsideOldData,
} from './index.ts';
import { stopEmbeddedPostgres } from './stop.ts';

const homes: TestHome[] = [];
const newHome = (name?: string): TestHome => {
  const home = new TestHome(name === undefined ? {} : { name });
  homes.push(home);
  return home;
};
/** Set up once; every test leaves it stopped. */
const shared = new TestHome();
const acquire = (test: TestHome, idleSeconds = 30) =>
  acquireEmbeddedPostgres({ home: test.home, idleSeconds });

afterEach(async () => {
  for (const home of homes.splice(0)) await home.dispose();
  await stopEmbeddedPostgres(shared.home);
});
afterAll(() => shared.dispose());

test('a first start makes a durable, private server; later ones reuse it', async () => {
  const { home } = newHome();
  const statuses: string[] = [];
  const pg = await acquireEmbeddedPostgres({ home, onStatus: (text) => statuses.push(text) });
  expect(statuses[0]).toBe('setting up the registry, once; this takes some seconds');
  expect(pg.connection).toMatchObject({ port: 5432, user: 'tidemark', database: 'tidemark' });
  expect(pg.connection.password).toMatch(/^[\w-]{43}$/);
  expect(statSync(join(home, 'registry/secret')).mode & 0o777).toBe(0o600);
  const names = ['fsync', 'synchronous_commit', 'full_page_writes', 'data_checksums', 'server_encoding'];
  const settings = names.map((name) => `current_setting('${name}')`).join();
  expect(
    await query(pg, `select ${settings}, datcollate from pg_database where datname = 'tidemark'`),
  ).toEqual([['on', 'on', 'on', 'on', 'UTF8', 'C']]);
  const { pid } = await embeddedPostgresStatus(home);
  const again = await acquireEmbeddedPostgres({ home });
  expect(await embeddedPostgresStatus(home)).toMatchObject({
    installed: true,
    running: true,
    pid,
    version: '18',
  });
  expect(again.connection).toEqual(pg.connection);
  await pg.release();
  await again.release();
});

test('a wrong password is refused', async () => {
  const pg = await acquire(shared);
  const stranger = { ...pg, connection: { ...pg.connection, password: 'guess' } };
  await expect(query(stranger, 'select 1')).rejects.toThrow('password authentication failed');
  await pg.release();
});

test('processes that start at once in a new home share one server', async () => {
  const { home } = newHome();
  const commands = Array.from({ length: 4 }, () => new Command(home));
  const pids = await Promise.all(commands.map((command) => command.acquired));
  expect(new Set(pids).size).toBe(1);
  await Promise.all(commands.map((command) => command.end()));
});

test('an idle server is stopped and no process is left', async () => {
  const pg = await acquire(shared, 1);
  expect(shared.processes()).not.toEqual([]);
  await pg.release();
  await shared.nothingRuns();
  expect(await embeddedPostgresStatus(shared.home)).toMatchObject({ installed: true, running: false });
  expect(readFileSync(join(shared.registry, 'postgres.log'), 'utf8')).toContain(
    'database system is shut down',
  );
});

test('a server is stopped when idle also where flock(1) is missing', async () => {
  const bin = join(shared.parent, 'bin');
  mkdirSync(bin);
  for (const tool of ['sleep', 'touch']) symlinkSync(`/usr/bin/${tool}`, join(bin, tool));
  const command = new Command(shared.home, { idleSeconds: 0, env: { PATH: bin } });
  await command.acquired;
  await command.end();
  await shared.nothingRuns();
});

test('commands that come while the server stops get a working one', async () => {
  const useOften = async (): Promise<void> => {
    for (let n = 0; n < 12; n++) {
      const pg = await acquire(shared, 0);
      expect(await query(pg, 'select 1')).toEqual([[1]]);
      await pg.release();
      if (n % 3 === 0) await until('the server stops', async () => (await shared.pid()) === undefined);
    }
  };
  await useOften();
  await Promise.all([useOften(), useOften()]);
});

test('a home path that is too long for a socket works', async () => {
  const home = newHome('h'.repeat(150));
  const pg = await acquire(home);
  expect(Buffer.byteLength(pg.connection.host)).toBeLessThan(93);
  expect(await query(pg, 'select 1')).toEqual([[1]]);
  await stopEmbeddedPostgres(home.home);
  rmSync(pg.connection.host, { recursive: true });
  await pg.release();
  const next = await acquire(home);
  expect(next.connection.host).not.toBe(pg.connection.host);
  expect(await query(next, 'select 1')).toEqual([[1]]);
  await next.release();
});

test('a home path with commas, blanks and apostrophes works', async () => {
  const home = newHome("a b, 'c' ü");
  const pg = await acquire(home);
  expect(await query(pg, 'select 1')).toEqual([[1]]);
  await pg.release();
});

test('data of another major version is told apart, and set aside on request', async () => {
  const home = newHome();
  await (await acquire(home)).release();
  await stopEmbeddedPostgres(home.home);
  writeFileSync(join(home.place, 'data/PG_VERSION'), '17\n');
  const error = await acquire(home).catch((thrown) => thrown);
  expect(error).toBeInstanceOf(OldDataDirectory);
  expect(error).toMatchObject({ code: 'TM1302', major: 17 });
  expect(await setAsideOldData(home.home)).toBe(join(home.place, 'data.old-17'));
  const pg = await acquire(home);
  expect(await query(pg, 'select 1')).toEqual([[1]]);
  await pg.release();
});

test('a lost password is replaced and the data kept', async () => {
  const pg = await acquire(shared);
  await query(pg, 'create table kept as select 7 as n');
  await pg.release();
  rmSync(join(shared.registry, 'secret'));
  const next = await acquire(shared);
  expect(next.connection.password).not.toBe(pg.connection.password);
  expect(await query(next, 'select n from kept')).toEqual([[7]]);
  await next.release();
});

test('a start that fails names the log and its reason', async () => {
  const home = newHome();
  await (await acquire(home)).release();
  await stopEmbeddedPostgres(home.home);
  writeFileSync(join(home.place, 'data/postgresql.conf'), 'no such setting\n');
  const log = join(home.registry, 'postgres.log');
  await expect(acquire(home)).rejects.toMatchObject({
    code: 'TM1302',
    message: expect.stringMatching(new RegExp(`FATAL: .*configuration file.*contains errors.*${log}`)),
  });
});

test('a home path that the set-up programs would misread is refused', async () => {
  const home = newHome('a$b');
  await expect(acquire(home)).rejects.toMatchObject({ code: 'TM1010' });
});

test('a home that cannot be made is TM1010', async () => {
  const home = newHome();
  writeFileSync(home.home, 'a file');
  await expect(acquire(home)).rejects.toMatchObject({ code: 'TM1010' });
});

test('a log that has grown long starts anew', async () => {
  await (await acquire(shared)).release();
  await stopEmbeddedPostgres(shared.home);
  const log = join(shared.registry, 'postgres.log');
  truncateSync(log, 11 * 1024 * 1024);
  await (await acquire(shared)).release();
  expect(statSync(log).size).toBeLessThan(10_000);
});
