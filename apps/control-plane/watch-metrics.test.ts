import { expect, test } from 'vitest';
import { Metrics } from '../../libs/service/metrics.ts';
import { watchMetrics } from './watch-metrics.ts';

test('the metrics are those of the last look: a reason that is over vanishes', async () => {
  const metrics = new Metrics();
  const told = watchMetrics(metrics);
  const shown = async () =>
    (await metrics.registry.metrics())
      .split('\n')
      .filter((line) => /^tidemark_(watched|recovery_points|sources_with)/.test(line));
  told({ watched: 3, exceeded: 1, withGaps: new Map([['overflow', 2]]) });
  expect(await shown()).toEqual([
    'tidemark_watched_sources 3',
    'tidemark_recovery_points_exceeded 1',
    'tidemark_sources_with_gaps{reason="overflow"} 2',
  ]);
  told({ watched: 2, exceeded: 0, withGaps: new Map([['agent-down', 1]]) });
  expect(await shown()).toEqual([
    'tidemark_watched_sources 2',
    'tidemark_recovery_points_exceeded 0',
    'tidemark_sources_with_gaps{reason="agent-down"} 1',
  ]);
});
