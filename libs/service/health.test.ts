import { expect, test, vi } from 'vitest';
import { healthOf } from './health.ts';

test('ready means that all that is needed is there; what is not is named', async () => {
  const good = { name: 'registry', check: async () => {} };
  const bad = { name: 'kafka', check: () => Promise.reject(new Error('no broker answers')) };
  expect(await healthOf([good])).toEqual({ status: 'ok', checks: { registry: 'ok' } });
  expect(await healthOf([good, bad])).toEqual({
    status: 'failing',
    checks: { registry: 'ok', kafka: 'no broker answers' },
  });
});

test('what hangs counts as failing, and holds nobody up', async () => {
  vi.useFakeTimers();
  const health = healthOf([{ name: 'store', check: () => new Promise(() => {}) }]);
  await vi.advanceTimersByTimeAsync(3000);
  expect((await health).checks).toEqual({ store: 'no answer within 3 s' });
  vi.useRealTimers();
});
