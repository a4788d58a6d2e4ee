import { afterAll, beforeAll, expect, test } from 'vitest';
import { openPostgresRegistry } from './open-postgres-registry.ts';
import { RegistryRig } from './rig.suite.ts';

let rig: RegistryRig;
beforeAll(async () => {
  rig = await RegistryRig.make();
});
afterAll(() => rig.close());

test('a registry of before sources could be watched is brought up to date, with what it holds', async () => {
  const source = await rig.source(['full', 'differential']);
  await rig.db.query(
    `drop table watches, watch_runs, gaps; alter table backups drop column gaps;
     delete from migrations where name like '%Watch%'`,
  );
  const registry = await openPostgresRegistry({ connection: rig.connection });
  try {
    const listed = await registry.backups.list({ sourceId: source });
    expect(listed.map(({ seq, gaps }) => [seq, gaps])).toEqual([
      [1, undefined],
      [2, undefined],
    ]);
    expect((await registry.backups.get(listed[0]!.id))?.gaps).toBeUndefined();
    await registry.clear();
    expect(await registry.backups.list({})).toEqual([]);
  } finally {
    await registry.close();
  }
});
