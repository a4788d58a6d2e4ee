import type { ScheduledSource } from '../../../libs/schedule/schedule-api.ts';
import type { Context } from '../context.ts';
import { rootToDisplay, rootToJson } from '../output.ts';
import { withSchedule } from '../with-schedule.ts';

export async function schedule(context: Context, [dir]: string[]): Promise<number> {
  return withSchedule(context, false, async (api) => {
    const sources = await api.schedule(dir ?? context.settings.source);
    for (const one of sources) print(context, one);
    if (sources.length === 0) context.output.status('nothing is scheduled; see `tidemark policy set --help`');
    return 0;
  });
}

const shown = (time: Date | undefined): string | null => time?.toISOString() ?? null;
const short = (time: Date): string => time.toISOString().slice(0, 16).replace('T', ' ');

function print({ output }: Context, one: ScheduledSource): void {
  const { root, agent, policy, byDefault, next, lastFull, lastBackup, jobs } = one;
  const [job] = jobs;
  output.line(
    {
      type: 'schedule',
      source: rootToJson(root),
      agent,
      paused: policy.paused === true,
      byDefault: byDefault === true,
      next: next ? { kind: next.kind, at: next.at.toISOString() } : null,
      lastFull: shown(lastFull),
      lastBackup: shown(lastBackup),
      job: job ? { kind: job.kind, state: job.state, dueAt: job.dueAt } : null,
    },
    () => {
      const coming = policy.paused
        ? 'paused'
        : job
          ? `${job.kind} is ${job.state}, due since ${short(new Date(job.dueAt))}`
          : next
            ? `${next.kind} due ${short(next.at)}`
            : 'nothing to come';
      return `${rootToDisplay(root)}  ${coming}  (${byDefault ? 'default policy; ' : ''}last backup ${lastBackup ? short(lastBackup) : 'never'}; UTC)`;
    },
  );
}
