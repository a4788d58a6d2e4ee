import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** A service's metrics, in Prometheus' text form at /metrics. Names begin with `tidemark_`. */
export class Metrics {
  readonly registry = new Registry();
  readonly messages: Counter<'topic' | 'what'>;
  readonly messageBytes: Counter<'topic' | 'what'>;
  readonly backups: Counter<'state' | 'code'>;
  readonly requests: Histogram<'method' | 'route' | 'status'>;
  readonly lag: Gauge<'topic' | 'partition'>;
  /** Of watched folders, by path: read as they are asked for. */
  readonly #watches = new Map<string, () => WatchFigures>();

  constructor() {
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry });
    this.messages = new Counter({
      name: 'tidemark_messages_total',
      help: 'Messages by what became of them: in, out, late, stale, forged, poisoned, newer, retried',
      labelNames: ['topic', 'what'],
      registers,
    });
    this.messageBytes = new Counter({
      name: 'tidemark_message_bytes_total',
      help: 'Bytes of message values, in and out',
      labelNames: ['topic', 'what'],
      registers,
    });
    this.backups = new Counter({
      name: 'tidemark_backups_ended_total',
      help: 'Backups that this process committed or ended as failed, by code',
      labelNames: ['state', 'code'],
      registers,
    });
    this.requests = new Histogram({
      name: 'tidemark_http_request_seconds',
      help: 'Time of HTTP requests until their reply was sent',
      labelNames: ['method', 'route', 'status'],
      buckets: [0.005, 0.025, 0.1, 0.5, 2, 10, 60],
      registers,
    });
    this.lag = new Gauge({
      name: 'tidemark_consumer_lag_messages',
      help: 'Messages behind the end of the partitions that this process has',
      labelNames: ['topic', 'partition'],
      registers,
    });
    this.#watchGauge(
      'tidemark_recovery_point_age_seconds',
      'Age of the oldest change of a watched folder that is in no backup yet',
      ({ recoveryPointMs }) => recoveryPointMs / 1000,
    );
    this.#watchGauge(
      'tidemark_watch_pending_paths',
      'Paths of a watched folder that have changed and wait to be taken',
      ({ pending }) => pending,
    );
    this.#watchGauge(
      'tidemark_watch_open_gaps',
      'Reasons for which changes of a watched folder may have gone unnoticed, until a look at all of it',
      ({ gaps }) => gaps.length,
    );
  }

  watches(source: string, figures: () => WatchFigures): void {
    this.#watches.set(source, figures);
  }

  #watchGauge(name: string, help: string, figure: (figures: WatchFigures) => number): void {
    const watches = this.#watches;
    new Gauge({
      name,
      help,
      labelNames: ['source'],
      registers: [this.registry],
      collect() {
        for (const [source, figures] of watches) this.set({ source }, figure(figures()));
      },
    });
  }
}

/** As a monitor's status has them. */
interface WatchFigures {
  readonly recoveryPointMs: number;
  readonly pending: number;
  readonly gaps: readonly string[];
}
