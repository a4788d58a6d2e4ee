import { appendFileSync, mkdirSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { Engine } from '../../libs/embedded/engine.ts';
import { WatchedBackups } from '../../libs/embedded/watched-backups.ts';
import { backUp, Rig } from '../rebuild/rig.ts';

let rig: Rig;
let tree: string;
beforeAll(() => {
  rig = new Rig('statements');
  tree = rig.path('tree');
  mkdirSync(tree);
  appendFileSync(`${tree}/file`, 'first');
});
afterAll(() => rig.close());

/** What the registry was asked meanwhile; each is a wait for Postgres. */
async function statementsOf(work: () => Promise<unknown>): Promise<string[]> {
  const query = vi.spyOn(pg.Client.prototype, 'query');
  try {
    await work();
    return query.mock.calls.map(([one]) => {
      const asked: unknown = one;
      return typeof asked === 'string' ? asked : String((asked as { text?: string }).text);
    });
  } finally {
    query.mockRestore();
  }
}

/** A label that is taken, of the same second, costs two statements more. */
const nextSecond = () => wait(1001);

/** As a watch makes them: connections are there, and a thread is warm. */
function micro(engine: Engine) {
  const rules = { excludes: [], oneFileSystem: false, threads: 1, compression: 'fast' as const };
  const keeper = { use: <T>(work: (one: Engine) => Promise<T>) => work(engine) };
  const backups = new WatchedBackups(keeper, Buffer.from(tree), rules, false);
  const dirty = { entries: [{ path: Buffer.from('file') }], subtrees: [], unsettled: [] };
  const taking = { gaps: [], onProblem: () => {}, signal: new AbortController().signal };
  return { backups, make: () => backups.micro(dirty, taking) };
}

test('a differential of one file asks the registry some thirty times: by a watch, and by a walk', async () => {
  await rig.withEngine('home', async (engine) => {
    await backUp(engine, tree);
    const { backups, make } = micro(engine);
    appendFileSync(`${tree}/file`, 'second');
    expect((await make())?.backup).toMatchObject({ seq: 2, state: 'committed', counts: { changed: 1 } });
    appendFileSync(`${tree}/file`, 'third');
    await nextSecond();
    const asked = await statementsOf(make);
    expect(asked.length, asked.join('\n')).toBeLessThanOrEqual(30);
    await backups.close();
    appendFileSync(`${tree}/file`, 'fourth');
    await nextSecond();
    const walked = await statementsOf(() => backUp(engine, tree));
    expect(walked.length, walked.join('\n')).toBeLessThanOrEqual(34);
    expect((await backUp(engine, tree)).counts).toMatchObject({ changed: 0, files: 1 });
  });
});
