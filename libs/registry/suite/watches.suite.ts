import { expect, it } from 'vitest';
import { newSource } from '../fixtures.suite.ts';
import type { Registry, WatchedGap, WatchReport } from '../port.ts';
import type { RegistryUnderTest } from '../registry.suite.ts';

const START = Date.UTC(2026, 10, 24);
/** Seconds after the start. */
const at = (seconds: number): Date => new Date(START + seconds * 1000);

const gap = (number: number, from: number, to?: number): WatchedGap => ({
  gap: number,
  reason: 'overflow',
  openedAt: at(from),
  endedAt: to === undefined ? undefined : at(to),
  closedAt: to === undefined ? undefined : at(to + 1),
});

const report = (more: Partial<WatchReport> = {}): WatchReport => ({
  kind: 'inotify',
  state: 'watching',
  pending: 0,
  oldestChange: undefined,
  run: { startedAt: at(0), seenAt: at(30) },
  gaps: [],
  ...more,
});

const event = (type: string) => ({ type, data: { ageSeconds: 7 } });
const eventsOf = async (registry: Registry, id: number) =>
  (await registry.outbox.pending(100_000)).filter(({ sourceId }) => sourceId === id);

/** Who watches what, and its gaps. */
export function watchCases(under: () => RegistryUnderTest): void {
  const registry = () => under().registry;

  it('keeps the last report of each source, with its open gaps', async () => {
    const [one, other] = [await newSource(registry()), await newSource(registry())];
    const silent = await newSource(registry());
    const { watches } = registry();
    await watches.report(one.id, report({ gaps: [gap(3, 25), gap(2, 20), gap(1, 10, 15)] }), at(30));
    const waiting = { pending: 3, oldestChange: at(40), kind: undefined, state: 'lost' };
    await watches.report(other.id, report({ ...waiting, run: undefined }), at(50));
    const rows = await watches.list([one.id, other.id, silent.id]);
    expect([...rows.keys()].sort((a, b) => a - b)).toEqual([one.id, other.id]);
    expect(rows.get(one.id)).toEqual({
      kind: 'inotify',
      state: 'watching',
      pending: 0,
      oldestChange: undefined,
      seenAt: at(30),
      isExceeded: false,
      openGaps: [{ reason: 'overflow', since: at(20), count: 2 }],
    });
    expect(rows.get(other.id)).toMatchObject({ ...waiting, seenAt: at(50), openGaps: [] });
  });

  it('takes a report twice, closes gaps, and those of which it is told no more', async () => {
    const { id } = await newSource(registry());
    const { watches } = registry();
    const open = report({ gaps: [gap(1, 10), gap(2, 20)] });
    for (const _ of [1, 2]) await watches.report(id, open, at(30));
    expect((await watches.history(id, at(0), at(100), 100)).gaps).toEqual([gap(1, 10), gap(2, 20)]);
    await watches.report(id, report({ gaps: [gap(1, 10, 40), gap(2, 20)] }), at(45));
    await watches.report(id, report({ gaps: [gap(1, 10), gap(2, 20)] }), at(46)); // late: closed stays closed
    await watches.report(id, report({ gaps: [gap(1, 60)] }), at(70)); // a ledger that is new begins with 1 again
    const all = [gap(1, 10, 40), { ...gap(2, 20), endedAt: at(70), closedAt: at(70) }, gap(1, 60)];
    expect((await watches.history(id, at(0), at(100), 100)).gaps).toEqual(all);
  });

  it('forgets runs and closed gaps that ended 400 days ago, and says until when; never an open gap', async () => {
    const { id } = await newSource(registry());
    const { watches } = registry();
    const later = (seconds: number) => at(400 * 86_400 + seconds);
    const open = [gap(2, 20), gap(3, 25)];
    await watches.report(id, report({ gaps: [gap(1, 5, 10), gap(4, 35, 300), ...open] }), at(30));
    expect(await watches.history(id, at(0), later(200), 100)).toMatchObject({
      runs: [{ startedAt: at(0) }],
      forgottenUntil: undefined,
    });
    await watches.report(
      id,
      report({ run: { startedAt: at(100), seenAt: later(100) }, gaps: open }),
      later(20),
    );
    const early = await watches.history(id, at(0), later(200), 100);
    expect(early.gaps.map((one) => one.gap)).toEqual([2, 3, 4]);
    expect(early).toMatchObject({ runs: [{ startedAt: at(0) }, {}], forgottenUntil: at(11) });
    await watches.report(id, report({ run: undefined, gaps: open }), later(200));
    const late = await watches.history(id, at(0), later(200), 100);
    expect(late).toMatchObject({ gaps: [...open, gap(4, 35, 300)], forgottenUntil: at(30) });
    expect(late.runs).toEqual([{ startedAt: at(100), seenAt: later(100) }]);
  });

  it('gives the runs and gaps of a period, those that reach into it too', async () => {
    const { id } = await newSource(registry());
    const { watches } = registry();
    for (const [startedAt, seenAt] of [
      [0, 30],
      [0, 60],
      [100, 130],
      [100, 120], // late
      [200, 230],
    ] as const)
      await watches.report(id, report({ run: { startedAt: at(startedAt), seenAt: at(seenAt) } }), at(seenAt));
    await watches.report(id, report({ gaps: [gap(1, 60, 100), gap(2, 130, 200), gap(3, 240)] }), at(240));
    const seen = async (from: number, to: number, limit = 100) => {
      const { runs, gaps } = await watches.history(id, at(from), at(to), limit);
      return [runs.map(({ seenAt }) => (seenAt.getTime() - START) / 1000), gaps.map((one) => one.gap)];
    };
    expect(await seen(0, 500)).toEqual([
      [60, 130, 230],
      [1, 2, 3],
    ]);
    expect(await seen(70, 90)).toEqual([[], [1]]);
    expect(await seen(110, 120)).toEqual([[130], []]);
    expect(await seen(300, 400)).toEqual([[], [3]]);
    expect(await seen(0, 500, 2)).toEqual([
      [60, 130],
      [1, 2],
    ]);
  });

  it('notes once that the recovery point is past its limit, with an event in the numbers of the source', async () => {
    const { id } = await newSource(registry());
    const { watches } = registry();
    const told = await Promise.all(
      [1, 2, 3].map(() => watches.setExceeded(id, true, event('recovery-point.exceeded'), at(1))),
    );
    expect(told.filter(Boolean)).toHaveLength(1);
    expect(await watches.setExceeded(id, false, event('recovery-point.recovered'), at(2))).toBe(true);
    expect(await watches.setExceeded(id, false, event('recovery-point.recovered'), at(3))).toBe(false);
    expect((await eventsOf(registry(), id)).map(({ eventNo, type, time }) => [eventNo, type, time])).toEqual([
      [1, 'recovery-point.exceeded', at(1)],
      [2, 'recovery-point.recovered', at(2)],
    ]);
  });

  it('counts sources that are watched, past their limit, and with open gaps by reason', async () => {
    const { watches } = registry();
    const before = await watches.totals();
    const own = (one: number, reason: string): WatchedGap => ({ ...gap(one, 10), reason });
    const ids = [(await newSource(registry())).id, (await newSource(registry())).id];
    for (const id of ids)
      await watches.report(
        id,
        report({ gaps: [own(1, 'counted'), own(2, 'counted')] }),
        await registry().now(),
      );
    await watches.report(ids[1]!, report({ gaps: [own(1, 'counted'), own(3, 'other')] }), at(1)); // long ago
    await watches.setExceeded(ids[0]!, true, event('recovery-point.exceeded'), at(1));
    const after = await watches.totals();
    expect(after).toMatchObject({ watched: before.watched + 1, exceeded: before.exceeded + 1 });
    expect([after.withGaps.get('counted'), after.withGaps.get('other')]).toEqual([2, 1]);
  });

  it('names those that fell silent while a change waited', async () => {
    const { id } = await newSource(registry());
    const { watches } = registry();
    const silent = async () => (await watches.silent(60)).filter(({ sourceId }) => sourceId === id);
    const ago = async (seconds: number) => new Date((await registry().now()).getTime() - seconds * 1000);
    const old = await ago(120);
    await watches.report(id, report({ oldestChange: old }), await ago(10));
    expect(await silent()).toEqual([]);
    await watches.report(id, report({ oldestChange: old }), await ago(90));
    expect(await silent()).toEqual([{ sourceId: id, oldestChange: old }]);
    await watches.setExceeded(id, true, event('recovery-point.exceeded'), at(1));
    expect(await silent()).toEqual([]);
  });
}
