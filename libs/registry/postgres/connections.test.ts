import pg from 'pg';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { prune } from '../../retain/prune.ts';
import { MemoryStore } from '../../store/memory/memory-store.ts';
import { codeOf } from '../fixtures.suite.ts';
import { openPool } from './database.ts';
import { RegistryRig } from './rig.suite.ts';

let rig: RegistryRig;
beforeAll(async () => {
  rig = await RegistryRig.make();
}, 60_000);
afterAll(() => rig?.close());

const STORE_LOCK = 0x746d0004;

/** Ends the sessions that hold the store's lock; resolves once they are gone. */
async function endHolders(): Promise<void> {
  const { rows } = await rig.db.query(
    `select pg_terminate_backend(pid, 10000) as gone from pg_locks where locktype = 'advisory' and objid = $1`,
    [STORE_LOCK],
  );
  expect(rows).toEqual([{ gone: true }]);
}

test('a session that ends while it holds a lock does not end the process, and who asks learns of it', async () => {
  const { journal } = rig.registry;
  expect(
    await journal.withStoreLock('shared', async (stillHeld) => {
      await stillHeld();
      await endHolders();
      expect(await codeOf(stillHeld())).toBe('TM1301');
      return 'goes on';
    }),
  ).toBe('goes on');
  expect(await journal.withStoreLock('exclusive-now', async () => 'free again')).toBe('free again');
});

test('a prune whose lock got lost while it decided condemns nothing', async () => {
  const { blocks } = rig.registry;
  const pack = { id: Buffer.alloc(32, 1), size: 10 };
  await blocks.beginPack('d', pack);
  const { unfinishedPacks } = blocks;
  blocks.unfinishedPacks = async (domain) => {
    await endHolders();
    return unfinishedPacks.call(blocks, domain);
  };
  const deps = { registry: rig.registry, store: new MemoryStore(), recover: async () => {} };
  const request = { domain: 'd', dryRun: false, onOrphan: () => {} };
  expect(await codeOf(prune(request, deps))).toBe('TM1301');
  blocks.unfinishedPacks = unfinishedPacks;
  expect(await blocks.unfinishedPacks('d')).toEqual([pack.id]);
});

test('commits are flushed also where the server is told not to', async () => {
  const { host, port, user, password, database } = rig.db.pool.options;
  const setting = async (pool: pg.Pool) =>
    (await pool.query("select current_setting('synchronous_commit') as value")).rows[0].value;
  await rig.db.query('alter role current_user set synchronous_commit = off');
  const pool = openPool({ host, port, user, password, database });
  const plain = new pg.Pool({ host, port, user, password, database });
  expect([await setting(plain), await setting(pool)]).toEqual(['off', 'on']);
  await Promise.all([pool.end(), plain.end()]);
});

test('many who hold locks at once, and locks inside them, leave each other connections to go on with', async () => {
  const { journal } = rig.registry;
  const decide = (no: number) =>
    journal.withStoreLock('shared', () =>
      journal.withWriter(`outer ${no % 7}`, () =>
        journal.withWriter('the one journal', async () => Number(await rig.registry.now()) && no),
      ),
    );
  const numbers = Array.from({ length: 60 }, (_, i) => i);
  expect(await Promise.all(numbers.map(decide))).toEqual(numbers);
});

/** Goes on once it was called twice. */
function meetingOfTwo(): () => Promise<unknown> {
  let here = 0;
  return () => {
    here++;
    return vi.waitUntil(() => here === 2, 20_000);
  };
}

test('a lock inside another one takes no further connection, unless it is the same one', async () => {
  const { journal } = rig.registry;
  const sessions = async () => {
    const { rows } = await rig.db.query(
      `select count(distinct pid)::int as n from pg_locks where locktype = 'advisory' and granted`,
    );
    return rows[0].n;
  };
  await journal.withStoreLock('shared', async () => {
    await journal.withWriter('a writer', async () => expect(await sessions()).toBe(1));
    await journal.withStoreLock('shared', async () => expect(await sessions()).toBe(2));
    const [arrived, counted] = [meetingOfTwo(), meetingOfTwo()];
    await Promise.all(
      ['one', 'other'].map((name) =>
        journal.withWriter(name, async () => {
          await arrived();
          expect(await sessions()).toBe(2);
          await counted();
        }),
      ),
    );
  });
});

test('work that outlives its lock takes further locks elsewhere', async () => {
  const { journal } = rig.registry;
  const ended = Promise.withResolvers<void>();
  let later: Promise<string> | undefined;
  await journal.withStoreLock('shared', async () => {
    later = ended.promise.then(() => journal.withWriter('later', async () => 'taken'));
  });
  await journal.withStoreLock('exclusive', async () => {
    ended.resolve();
    expect(await later).toBe('taken');
  });
});

test('many backups that cannot be opened yet leave others connections to go on with', async () => {
  const { journal, backups } = rig.registry;
  const sources = await Promise.all(Array.from({ length: 30 }, () => rig.source([])));
  const held = Promise.withResolvers<void>();
  const decided = Promise.withResolvers<void>();
  const deciding = journal.withStoreLock('exclusive', async () => {
    held.resolve();
    await decided.promise;
  });
  await held.promise;
  const opened = Promise.all(sources.map((sourceId) => backups.open({ sourceId, kind: 'full', tags: {} })));
  expect(await rig.registry.now()).toBeInstanceOf(Date);
  decided.resolve();
  await deciding;
  expect((await opened).map(({ backup }) => backup.state)).toEqual(sources.map(() => 'open'));
});
