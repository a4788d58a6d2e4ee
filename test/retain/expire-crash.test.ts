import { Client } from 'pg';
import { expect } from 'vitest';
import type { Engine } from '../../libs/embedded/engine.ts';
import { acquireEmbeddedPostgres } from '../../libs/registry/embedded/index.ts';
import { expireSource } from '../../libs/retain/expire-source.ts';
import { afterAll, beforeAll, test } from '../needs.ts';
import { RetainRig } from './rig.suite.ts';

let rig: RetainRig;
const labels: string[] = [''];
let round = 0;

const backup = (...options: string[]) => {
  rig.edit(++round);
  labels[round] = rig.backup(...options);
};

beforeAll(() => {
  rig = new RetainRig('expire-crash');
  backup();
});
afterAll(() => rig.close());

test('an expiry that died after its decision was durable is rolled forward, and prune drops what it left', {
  timeout: 60_000,
}, async () => {
  for (let i = 0; i < 3; i++) backup(...(i === 0 ? ['--full'] : []));
  const [kept, gone] = [rig.labels().slice(-2), labels[round - 1]!];
  const dying = rig.withEngine(async (engine) => {
    const { id: sourceId } = (await engine.registry.backups.sources())[0]!;
    const decide: Engine['decide'] = (records, sections) =>
      engine.decide(records, sections, () => Promise.reject(new Error('killed')));
    const rules = { last: 1, buckets: {}, tags: [] };
    await expireSource({ sourceId, rules, timeZone: 'UTC' }, { registry: engine.registry, decide });
  });
  await expect(dying).rejects.toThrow('killed');
  expect(rig.labels()).toEqual([labels[round - 2], kept[1]]); // the full and the newest differential
  expect(rig.labels()).not.toContain(gone);
  const before = rig.used();
  expect(rig.ok('prune').last.bytes).toBeGreaterThan(2_700_000);
  expect(rig.used()).toBeLessThan(before - 2_700_000);
  rig.expectAllWell();
});

test('a registry that lacks rows of needed blocks stops prune before it deletes anything', async () => {
  rig.ok('expire', '--keep-last', '1');
  const postgres = await acquireEmbeddedPostgres({ home: rig.home });
  const client = new Client(postgres.connection);
  await client.connect();
  try {
    const packs = rig.packs();
    await client.query('create table lost as select * from blocks where kind = 0');
    await client.query('delete from blocks where kind = 0');
    expect(rig.run('prune')).toMatchObject({ status: 4, last: { code: 'TM1601' } });
    expect(rig.run('prune', '--dry-run')).toMatchObject({ status: 4 });
    expect(rig.packs()).toEqual(packs);
    await client.query('insert into blocks select * from lost');
    rig.ok('prune');
  } finally {
    await client.query('drop table if exists lost');
    await client.end();
    await postgres.release();
  }
  rig.expectAllWell();
});
