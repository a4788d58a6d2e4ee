import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openGcsStore } from '../../libs/store/gcs/gcs-store.ts';
import { storeSuite } from '../../libs/store/store.suite.ts';
import { FakeGcs, findFakeGcs } from '../services/fake-gcs.ts';

const found = await findFakeGcs();

if ('missing' in found) it('GCS, fake-gcs-server', (context) => context.skip(found.missing));
else
  describe('against fake-gcs-server', () => {
    let gcs: FakeGcs;
    beforeAll(async () => {
      gcs = await FakeGcs.start(found.binary);
      await gcs.makeBucket('tidemark-test');
    });
    afterAll(() => gcs?.stop());

    storeSuite('GCS, fake-gcs-server', async () => {
      const url = `gs://tidemark-test/suite/${randomUUID()}`;
      const open = () => openGcsStore(url, { endpoint: gcs.url });
      return { store: open(), reopen: async () => open() };
    });

    it('says TM1202 where there is no bucket', async () => {
      const store = openGcsStore('gs://no-such-bucket/x', { endpoint: gcs.url });
      const missing = expect.objectContaining({ code: 'TM1202' });
      await expect(store.create('a', [Buffer.from('x')])).rejects.toEqual(missing);
      await expect(store.read('a')).rejects.toEqual(missing);
      await expect(store.stat('a')).rejects.toEqual(missing);
      await store.close();
    });
  });
