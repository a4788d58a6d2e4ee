import { Gauge } from 'prom-client';
import type { WatchTotals } from '../../libs/registry/port.ts';
import type { Metrics } from '../../libs/service/metrics.ts';

/** How sources are watched, as their agents last said: the same in every control plane. */
export function watchMetrics({ registry }: Metrics): (totals: WatchTotals) => void {
  const registers = [registry];
  const watched = new Gauge({
    name: 'tidemark_watched_sources',
    help: 'Sources whose watch was heard of within the last minute and a half',
    registers,
  });
  const exceeded = new Gauge({
    name: 'tidemark_recovery_points_exceeded',
    help: 'Watched sources with a change that is older than their policy allows and in no backup yet',
    registers,
  });
  const gaps = new Gauge({
    name: 'tidemark_sources_with_gaps',
    help: 'Watched sources of which changes may have gone unnoticed since their last reconcile, by reason',
    labelNames: ['reason'],
    registers,
  });
  return (totals) => {
    watched.set(totals.watched);
    exceeded.set(totals.exceeded);
    gaps.reset();
    for (const [reason, sources] of totals.withGaps) gaps.set({ reason }, sources);
  };
}
