import { findSource } from '../../../libs/catalogue/find-backup.ts';
import type { SourceStatus, SourceWatch } from '../../../libs/catalogue/port.ts';
import type { BackupInfo } from '../../../libs/model/backup.ts';
import { type Context, withReader } from '../context.ts';
import { formatDuration } from '../display.ts';
import { rootToDisplay, rootToJson } from '../output.ts';
import { tellWatches } from '../watch-status.ts';

/** How each source stands, or that of a folder; and the watches of this host. */
export async function status(context: Context, [dir]: string[]): Promise<number> {
  const { output, settings } = context;
  if (!settings.server) await tellWatches(context, dir);
  return withReader(context, async (reader) => {
    const { storeId, ownerGeneration, sources: all } = await reader.catalogue.status();
    const only = dir === undefined ? undefined : await findSource(reader, dir);
    const sources = all.filter(({ source }) => !only || source.uid === only.uid);
    for (const one of sources) {
      print(context, one);
      if (one.watch) printWatch(context, one.source, one.watch);
    }
    const summary = {
      storeId,
      ownerGeneration,
      sources: sources.length,
      underWay: sources.filter(({ open }) => open).length,
      failed: sources.filter(({ failed }) => failed).length,
    };
    output.line({ type: 'summary', ...summary }, () => {
      const { underWay, failed } = summary;
      const verdict = failed > 0 ? `the last backup of ${failed} failed` : 'none failed last';
      return `Store ${storeId}: ${sources.length} sources, ${underWay} being backed up, ${verdict}.`;
    });
    return 0;
  });
}

function shown(backup: BackupInfo | undefined) {
  if (!backup) return null;
  const { label, kind, state, openedAt, committedAt, failure } = backup;
  const time = (committedAt ?? openedAt).toISOString();
  return { label, kind, state, time, ...(failure && { code: failure }) };
}

function print(
  { output }: Context,
  { source, last, lastFull, ageSeconds, open, failed }: SourceStatus,
): void {
  output.line(
    {
      type: 'status',
      source: rootToJson(source.root),
      agent: source.agent,
      last: shown(last),
      lastFull: shown(lastFull),
      ageSeconds: ageSeconds ?? null,
      open: shown(open),
      failed: shown(failed),
    },
    () => {
      const newest =
        last && ageSeconds !== undefined
          ? `${last.label}, ${formatDuration(ageSeconds)} ago`
          : 'no backup yet';
      const full = lastFull && lastFull.id !== last?.id ? `; last full ${lastFull.label}` : '';
      const now = open ? `; ${open.kind} under way since ${clock(open.openedAt)}` : '';
      const bad = failed ? `; ${failed.label} failed (${failed.failure ?? failed.state})` : '';
      return `${source.agent}:${rootToDisplay(source.root)}  ${newest}${full}${now}${bad}`;
    },
  );
}

/** What the agent of the source said to the services. */
function printWatch(
  { output }: Context,
  { root, agent }: SourceStatus['source'],
  { gaps, ...watch }: SourceWatch,
): void {
  const { by, state, recoveryPoint, pending, exceeded, seenAt, oldestChange = null } = watch;
  const reasons = gaps.map(({ reason }) => reason);
  const told = {
    by: by ?? null,
    state,
    recoveryPoint,
    oldestChange,
    pending,
    exceeded,
    gaps: reasons,
    seenAt,
  };
  output.line({ type: 'watch', source: rootToJson(root), agent, ...told }, () => {
    const age =
      recoveryPoint === 0
        ? 'all changes are committed'
        : `oldest change not committed: ${formatDuration(recoveryPoint)} ago${exceeded ? ' (over the limit)' : ''}, ${pending} paths wait`;
    const open = reasons.length > 0 ? `; open gaps: ${reasons.join(', ')}` : '';
    return `  ${state}${by ? ` by ${by}` : ''}, as of ${clock(seenAt)}; ${age}${open}`;
  });
}

const clock = (time: Date): string => `${time.toISOString().slice(0, 19).replace('T', ' ')} UTC`;
