import { afterAll, beforeAll, expect, test } from 'vitest';
import { TmError } from '../model/errors.ts';
import type { MonitorEvents } from '../monitor/port.ts';
import { until } from '../registry/embedded/fixtures.suite.ts';
import { RegistryRig } from '../registry/postgres/rig.suite.ts';
import type { Engine } from './engine.ts';
import { RecoveryEvents } from './recovery-events.ts';

let rig: RegistryRig;
let source: number;
/** The registry can't be reached. */
let isAway = false;
let tries = 0;

beforeAll(async () => {
  rig = await RegistryRig.make();
});
afterAll(() => rig.close());

const engines = {
  use: async <T>(work: (engine: Engine) => Promise<T>): Promise<T> => {
    tries++;
    if (isAway) throw new TmError('TM1301', 'away');
    return work({ registry: { ...rig.registry, outbox: { pending: async () => [] } } } as never);
  },
};

const eventsOf = async () =>
  (await rig.registry.outbox.pending(100))
    .filter(({ sourceId }) => sourceId === source)
    .map(({ type, data }) => `${type} ${data.ageSeconds}/${data.limitSeconds}`);

async function watched(limitMs: number | undefined) {
  source = await rig.source(['full']);
  const told: string[] = [];
  const recovery = new RecoveryEvents(engines, source, limitMs, 10);
  const events = recovery.with({
    watching: () => told.push('watching'),
    recoveryPoint: (isPassed) => told.push(String(isPassed)),
  } as Partial<MonitorEvents> as MonitorEvents);
  return { recovery, events, told };
}

test('each crossing is an event, and is told to who listened before', async () => {
  const { recovery, events, told } = await watched(60_000);
  events.watching('inotify', '');
  events.recoveryPoint?.(true, 60_000);
  await until('the first', async () => (await eventsOf()).length === 1);
  events.recoveryPoint?.(false, 0);
  await until('the second', async () => (await eventsOf()).length === 2);
  expect(await eventsOf()).toEqual(['recovery-point.exceeded 60/60', 'recovery-point.recovered 0/60']);
  expect(told).toEqual(['watching', 'true', 'false']);
  recovery.close();
});

test('what an earlier process said last is taken back once all is committed', async () => {
  const { recovery, events } = await watched(undefined);
  await rig.registry.watches.setExceeded(
    source,
    true,
    { type: 'recovery-point.exceeded', data: {} },
    new Date(),
  );
  events.watching('poll', '');
  await until('the second', async () => (await eventsOf()).length === 2);
  expect((await eventsOf())[1]).toBe('recovery-point.recovered 0/null');
  recovery.close();
});

test('while the registry is away it is tried again; what holds no more by then is not said', async () => {
  const { recovery, events } = await watched(60_000);
  isAway = true;
  tries = 0;
  events.recoveryPoint?.(true, 60_000);
  await until('tries', async () => tries >= 3);
  events.recoveryPoint?.(false, 0);
  isAway = false;
  await until('the registry agrees', async () => tries >= 4);
  events.recoveryPoint?.(true, 61_000);
  await until('the event', async () => (await eventsOf()).length > 0);
  expect(await eventsOf()).toEqual(['recovery-point.exceeded 61/60']);
  recovery.close();
});
