import { realpathSync } from 'node:fs';
import { checkedRoot } from '../agent/checked-root.ts';
import { systemClock } from '../monitor/clock.ts';
import { Monitor, type Timing } from '../monitor/monitor.ts';
import type { MonitorEvents } from '../monitor/port.ts';
import { RootSources } from '../monitor/root-sources.ts';
import { type WatchPolicy, watchPolicyOf } from '../schedule/recovery-point.ts';
import { GapLedger } from '../watch/ledger.ts';
import { sourceOf } from './backup.ts';
import type { EngineKeeper } from './engine-keeper.ts';
import { ownPaths } from './own-folders.ts';
import { RecoveryEvents } from './recovery-events.ts';
import { WatchLock } from './watch-lock.ts';
import { placeOf } from './watch-protocol.ts';
import { WatchServer } from './watch-server.ts';
import { WatchedBackups, type WatchRules } from './watched-backups.ts';

export interface WatchRequest extends WatchRules {
  /** Bytes, or their text (model/byte-text.ts). */
  readonly dir: Buffer | string;
  readonly acceptRoot: boolean;
  /** Of what the source's policy says. */
  readonly timing: (policy: WatchPolicy) => Timing;
}

/** One folder that this process watches. */
export interface WatchedFolder {
  readonly root: Buffer;
  readonly monitor: Monitor;
  /** Until the signal. */
  run(signal: AbortSignal): Promise<void>;
}

/** Makes everything ready, throwing what can be wrong with folder, home, registry and store; then `run` goes on whatever comes. */
export async function watchFolder(
  engines: EngineKeeper,
  { dir, acceptRoot, timing, ...rules }: WatchRequest,
  eventsOf: (root: Buffer) => MonitorEvents,
): Promise<WatchedFolder> {
  const { root, source, home, own, place, policy } = await engines.use(async (engine) => {
    const paths = ownPaths(engine);
    const root = await checkedRoot(dir, paths);
    const own = paths.flatMap((path) => canonical(path) ?? []);
    const place = placeOf(engine.config);
    const source = await sourceOf(engine, root);
    const policy = await watchPolicyOf(engine.registry, source);
    return { root, source, home: engine.home, own, place, policy };
  });
  const recovery = new RecoveryEvents(engines, source.id, policy.recoveryLimitMs);
  const lock = WatchLock.take(home.watchFolder, root);
  try {
    const monitor = new Monitor({
      sources: new RootSources(root, own),
      backups: new WatchedBackups(
        engines,
        root,
        { ...rules, excludes: [...policy.excludes, ...rules.excludes] },
        acceptRoot,
      ),
      ledger: GapLedger.open(home.ledgerFile(source.uid), Date.now()),
      clock: systemClock,
      random: Math.random,
      timing: timing(policy),
      events: recovery.with(eventsOf(root)),
    });
    const server = await WatchServer.open({ folder: home.watchFolder, root, monitor, place });
    return {
      root,
      monitor,
      async run(signal) {
        try {
          await monitor.run(signal);
        } finally {
          recovery.close();
          await server.close();
          lock.release();
        }
      },
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

function canonical(path: string): Buffer | undefined {
  try {
    return realpathSync(path, { encoding: 'buffer' });
  } catch {
    return undefined;
  }
}
