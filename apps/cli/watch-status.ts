import { existsSync } from 'node:fs';
import { canonicalRoot } from '../../libs/catalogue/find-backup.ts';
import { watchViews } from '../../libs/embedded/ask-watch.ts';
import { watchFolderOf } from '../../libs/embedded/home.ts';
import { placeOf, type WatchView } from '../../libs/embedded/watch-protocol.ts';
import type { Context } from './context.ts';
import { formatDuration } from './display.ts';
import { rootToDisplay, rootToJson } from './output.ts';

/** Prints how the folders stand that processes of this host watch. `dir`: that one only. */
export async function tellWatches(context: Context, dir: string | undefined): Promise<void> {
  const { settings } = context;
  const folder = watchFolderOf(settings.home);
  if (!existsSync(folder)) return;
  const root = dir === undefined ? undefined : canonicalRoot(dir);
  for (const view of await watchViews({ folder, place: placeOf(settings) }, root)) print(context, view);
}

function print(
  { output }: Context,
  { root, recoveryPointMs, oldestChange, failure, ...view }: WatchView,
): void {
  const source = Buffer.from(root, 'base64');
  const recoveryPoint = recoveryPointMs / 1000;
  output.line(
    {
      type: 'watch',
      source: rootToJson(source),
      by: view.by,
      state: view.state,
      recoveryPoint,
      oldestChange: oldestChange === null ? null : new Date(oldestChange).toISOString(),
      pending: view.pending,
      gaps: view.gaps,
      lastCommit: view.lastCommit,
      failure,
    },
    () => {
      const age =
        recoveryPoint === 0
          ? 'all changes are committed'
          : `oldest change not committed: ${formatDuration(recoveryPoint)} ago, ${view.pending} paths wait`;
      const gaps = view.gaps.length > 0 ? `; open gaps: ${view.gaps.join(', ')}` : '';
      const trouble = failure === null ? '' : `; last attempt failed [${failure}]`;
      return `${rootToDisplay(source)}  ${view.state}${view.by ? ` by ${view.by}` : ''}; ${age}${gaps}${trouble}`;
    },
  );
}
