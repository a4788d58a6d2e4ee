import { afterAll, beforeAll, expect, test } from 'vitest';
import { commitOf, NOW, newSource, sealOf } from '../registry/fixtures.suite.ts';
import { RegistryRig } from '../registry/postgres/rig.suite.ts';
import { MemoryStore } from '../store/memory/memory-store.ts';
import { Cell } from './cell.ts';
import { settleSource } from './recover.ts';

let rig: RegistryRig;
beforeAll(async () => {
  rig = await RegistryRig.make();
});
afterAll(() => rig?.close());

test('who looks after a backup that is being committed does not keep the next one of its source from opening', async () => {
  const { registry } = rig;
  const { backups, journal } = registry;
  const storeRow = { storeId: 's', registryId: 'r', ownerGeneration: 1 };
  const cell = new Cell({ registry, store: new MemoryStore(), storeRow, writer: 'w', onStatus: () => {} });
  const { id: sourceId } = await newSource(registry);
  const lease = { seconds: 60, macKey: Buffer.alloc(32), instance: crypto.randomUUID(), shards: 1 };
  const open = () => backups.open({ sourceId, kind: 'full', tags: {}, lease }, NOW);
  const opened = await open();
  const { id, epoch } = opened.backup;
  let settling = Promise.resolve();
  await journal.withWriter('w', async () => {
    await backups.seal(id, epoch, sealOf(opened));
    await backups.committing(id, epoch, { writer: 'w', number: 1 });
    settling = settleSource(cell, sourceId); // waits for the journal's lock
    await untilSomebodyWaits();
    await backups.commit(commitOf(opened));
    expect((await open()).backup.state).toBe('open');
  });
  await settling;
  expect((await backups.get(id))?.state).toBe('committed');
});

async function untilSomebodyWaits(): Promise<void> {
  for (;;) {
    const { rows } = await rig.db.query(
      `select 1 from pg_locks where locktype = 'advisory' and not granted limit 1`,
    );
    if (rows.length > 0) return;
  }
}
