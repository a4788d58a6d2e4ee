import { expect, it } from 'vitest';
import { TmError } from '../../model/errors.ts';
import { until } from '../embedded/fixtures.suite.ts';
import { codeOf, commit, committedEvent, NOW, newSource } from '../fixtures.suite.ts';
import type { OutboxRow, Registry } from '../port.ts';
import type { RegistryUnderTest } from '../registry.suite.ts';

async function pendingOf(registry: Registry, sourceId: number): Promise<OutboxRow[]> {
  return (await registry.outbox.pending(100_000)).filter((row) => row.sourceId === sourceId);
}

/** Outbox and the locks of journal and store. */
export function outboxCases(under: () => RegistryUnderTest): void {
  const registry = () => under().registry;

  it('numbers the events of each source without a gap, in order, while sources commit at once', async () => {
    const sources = await Promise.all(Array.from({ length: 4 }, () => newSource(registry())));
    const rounds = 5;
    await Promise.all(
      sources.map(async ({ id }, i) => {
        for (let n = 0; n < rounds; n++) {
          const opened = await registry().backups.open({ sourceId: id, kind: 'full', tags: {} }, NOW);
          const event = committedEvent(opened.backup.id);
          if (n % 3 === 2)
            await registry().backups.fail(opened.backup.id, 'TM1508', [{ ...event, type: 'backup.failed' }]);
          else
            await commit(registry(), opened, {
              events: [event, { type: 'baseline.promoted', data: { n, i } }],
              journal: { writer: `writer${i}`, number: n + 1, chain: Buffer.alloc(32) },
            });
        }
      }),
    );
    for (const { id, uid } of sources) {
      const rows = await pendingOf(registry(), id);
      expect(rows.map((row) => row.eventNo)).toEqual(rows.map((_, n) => n + 1));
      expect(rows).toHaveLength(9);
      expect(rows.every((row) => row.sourceUid === uid)).toBe(true);
    }
  });

  it('forgets what was published and nothing else', async () => {
    const { id } = await newSource(registry());
    const opened = await registry().backups.open({ sourceId: id, kind: 'full', tags: {} }, NOW);
    const data = { text: 'ä"\n', none: null, big: 2 ** 53 - 1 };
    const events = ['backup.committed', 'baseline.promoted'].map((type) => ({ type, data }));
    await commit(registry(), opened, { events });
    const [first, second] = await pendingOf(registry(), id);
    expect(first).toMatchObject({ eventNo: 1, type: 'backup.committed', time: NOW, data });
    await registry().outbox.published([first!.id]);
    await registry().outbox.published([first!.id]);
    expect(await pendingOf(registry(), id)).toEqual([second]);
    await registry().outbox.published([second!.id]);
    expect(await pendingOf(registry(), id)).toEqual([]);
  });

  it('moves a journal head forwards only', async () => {
    const head = (number: number) => ({ writer: 'forwards', number, chain: Buffer.alloc(32, number) });
    for (const number of [3, 1, 2 ** 45, 5]) await registry().journal.setHead(head(number));
    const heads = await registry().journal.heads();
    expect(heads.filter((one) => one.writer === 'forwards')).toEqual([head(2 ** 45)]);
  });

  it('lets one at a time work as a writer, and frees the lock when the work fails', async () => {
    let inside = 0;
    const work = async () => {
      expect(++inside).toBe(1);
      await registry().journal.heads();
      inside--;
    };
    const other = await under().other();
    await Promise.all(
      [registry(), other, registry(), other].map((one) => one.journal.withWriter('single', work)),
    );
    await expect(
      other.journal.withWriter('single', async () => {
        throw new Error('broken');
      }),
    ).rejects.toThrow('broken');
    await registry().journal.withWriter('single', work);
    await other.close();
  });

  it('shares the store lock among readers and gives it to one that excludes them', async () => {
    const other = await under().other();
    const holds = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const order: string[] = [];
    const shared = registry().journal.withStoreLock('shared', async () => {
      holds.resolve();
      await release.promise;
      order.push('shared');
    });
    await holds.promise;
    await other.journal.withStoreLock('shared', async () => {
      order.push('shared too');
    });
    const exclusive = other.journal.withStoreLock('exclusive', async () => {
      order.push('exclusive');
    });
    release.resolve();
    await Promise.all([shared, exclusive]);
    expect(order).toEqual(['shared too', 'shared', 'exclusive']);
    await other.close();
  });

  it('refuses the store lock to who wants it alone and now, while anybody has it', async () => {
    const other = await under().other();
    const now = () => codeOf(other.journal.withStoreLock('exclusive-now', async () => {}));
    await registry().journal.withStoreLock('shared', async () => expect(await now()).toBe('TM1501'));
    await registry().journal.withStoreLock('exclusive', async () => expect(await now()).toBe('TM1501'));
    expect(await now()).toBeUndefined();
    await other.close();
  });

  it('gives events of all sources oldest first, each source by its numbers, as many as are asked for', async () => {
    const sources = await Promise.all(Array.from({ length: 3 }, () => newSource(registry())));
    for (let n = 0; n < 3; n++)
      for (const { id } of [...sources].reverse()) {
        const opened = await registry().backups.open({ sourceId: id, kind: 'full', tags: {} }, NOW);
        await registry().backups.fail(opened.backup.id, 'TM1508', [{ type: 'backup.failed', data: {} }]);
      }
    const ids = sources.map(({ id }) => id);
    const ours = (await registry().outbox.pending(100_000)).filter(({ sourceId }) => ids.includes(sourceId));
    const [a, b, c] = ids;
    expect(ours.map(({ sourceId, eventNo }) => [sourceId, eventNo])).toEqual(
      [1, 2, 3].flatMap((no) => [c, b, a].map((id) => [id, no])),
    );
    expect(await registry().outbox.pending(2)).toHaveLength(2);
  });

  it('has one publisher at a time over all processes, also after one failed', async () => {
    const other = await under().other();
    const holds = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const publishing = registry().outbox.publishing(async (stillMine) => {
      holds.resolve();
      await release.promise;
      await stillMine();
    });
    await holds.promise;
    const refuse = async () => expect.unreachable();
    for (const one of [other, registry()]) expect(await one.outbox.publishing(refuse)).toBe(false);
    release.resolve();
    expect(await publishing).toBe(true);
    const failing = other.outbox.publishing(async () => {
      throw new TmError('TM1501', 'of the work');
    });
    expect(await codeOf(failing)).toBe('TM1501');
    expect(await registry().outbox.publishing(async () => {})).toBe(true);
    await other.close();
  });

  it('tells all that watch of events as they are committed, and nobody who has stopped', async () => {
    const other = await under().other();
    const told = [0, 0];
    const watches = [registry(), other].map((one, i) =>
      one.outbox.onPending(() => {
        told[i] = told[i]! + 1;
      }),
    );
    await until('both listen', () => told[0] === 1 && told[1] === 1);
    const { id } = await newSource(registry());
    const end = async () => {
      const opened = await registry().backups.open({ sourceId: id, kind: 'full', tags: {} }, NOW);
      await registry().backups.fail(opened.backup.id, 'TM1508', [{ type: 'backup.failed', data: {} }]);
    };
    await end();
    await until('both were told', () => told[0]! > 1 && told[1]! > 1);
    await watches[0]!.close();
    await watches[0]!.close();
    const stopped = told[0];
    const before = told[1]!;
    await end();
    await until('the other was told', () => told[1]! > before);
    expect(told[0]).toBe(stopped);
    await other.close();
  });

  it('hands out lanes that are the same for whoever asks, at once or later, and more when more are asked for', async () => {
    const other = await under().other();
    const asked = await Promise.all(
      [registry(), other, registry(), other].map((one) => one.journal.lanes(4)),
    );
    const lanes = asked[0]!;
    expect(new Set(lanes).size).toBe(4);
    for (const one of asked) expect(one).toEqual(lanes);
    expect(await registry().journal.lanes(2)).toEqual(lanes.slice(0, 2));
    const more = await other.journal.lanes(6);
    expect(more.slice(0, 4)).toEqual(lanes);
    expect(new Set(more).size).toBe(6);
    expect(await registry().journal.lanes(6)).toEqual(more);
    for (const lane of more) expect(lane).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    await other.close();
  });

  it('remembers its store', async () => {
    const row = { storeId: 's', registryId: 'r', ownerGeneration: 3 };
    await registry().journal.setStore({ ...row, ownerGeneration: 2 });
    await registry().journal.setStore(row);
    expect(await registry().journal.store()).toEqual(row);
  });
}
