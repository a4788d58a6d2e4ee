import { EngineKeeper } from '../../../libs/embedded/engine-keeper.ts';
import { type WatchedFolder, watchFolder } from '../../../libs/embedded/watch-folder.ts';
import { TmError } from '../../../libs/model/errors.ts';
import type { Timing } from '../../../libs/monitor/monitor.ts';
import type { MonitorEvents } from '../../../libs/monitor/port.ts';
import { timingFor } from '../../../libs/monitor/timing.ts';
import type { WatchPolicy } from '../../../libs/schedule/recovery-point.ts';
import type { Context } from '../context.ts';
import { type ExcludeOptions, patternsOf } from '../exclude-patterns.ts';
import { spanOf } from '../span.ts';
import { WatchLines } from '../watch-lines.ts';

interface Options extends ExcludeOptions {
  readonly every?: string;
  readonly settle?: string;
  readonly oneFileSystem?: boolean;
  readonly acceptRoot?: boolean;
}

const EVERY_MS = 5000;

/** An orderly end takes less; a kill is no worse than the next start finds. */
const STOP_MS = 9500;

/** Watches folders until a signal, and commits micro-differentials as they change. */
export async function watch(context: Context, dirs: string[], options: Options): Promise<number> {
  const { settings, output, signal } = context;
  const request = {
    timing: timingOf(options),
    excludes: patternsOf(options),
    oneFileSystem: options.oneFileSystem === true,
    acceptRoot: options.acceptRoot === true,
    threads: settings.threads,
    compression: settings.compression,
  };
  const begun = performance.now();
  const lines = new WatchLines(output);
  const onStatus = (text: string) => output.status(text);
  const engines = new EngineKeeper({ ...settings, create: true, onStatus });
  try {
    const folders: WatchedFolder[] = [];
    for (const dir of dirs) folders.push(await open(engines, { ...request, dir }, lines));
    signal.addEventListener('abort', endInTime);
    await Promise.all(folders.map((folder) => folder.run(signal)));
    const seconds = Math.round((performance.now() - begun) / 1000);
    output.line(
      { type: 'summary', commits: lines.commits, seconds },
      () => `Stopped after ${lines.commits} commits.`,
    );
    return 0;
  } finally {
    await engines.close();
  }
}

const open = (
  engines: EngineKeeper,
  request: Parameters<typeof watchFolder>[1],
  lines: WatchLines,
): Promise<WatchedFolder> => watchFolder(engines, request, (root): MonitorEvents => lines.eventsOf(root));

const endInTime = (): void => void setTimeout(() => process.exit(1), STOP_MS).unref();

/** What is asked for holds before what the folder's policy says. */
function timingOf({ every, settle }: Options): (policy: WatchPolicy) => Timing {
  const asked = every === undefined ? undefined : spanOf('--every', every);
  const settling = settle === undefined ? undefined : spanOf('--settle', settle);
  const plan = ({ everyMs = EVERY_MS, recoveryLimitMs }: WatchPolicy): Timing => {
    const interval = asked ?? everyMs;
    if (settling !== undefined && settling > interval)
      throw new TmError('TM1002', `--settle ${settle}: it may be no longer than --every`);
    return { ...timingFor(interval, settling), recoveryLimitMs };
  };
  if (asked !== undefined) plan({ everyMs: asked, recoveryLimitMs: undefined, excludes: [] }); // what is wrong is said at once
  return plan;
}
