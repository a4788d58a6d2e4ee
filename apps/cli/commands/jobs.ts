import { TmError } from '../../../libs/model/errors.ts';
import { bytesToDisplay, bytesToJson } from '../../../libs/model/tree-path.ts';
import type { JobInfo } from '../../../libs/schedule/job.ts';
import type { Context } from '../context.ts';
import { withSchedule } from '../with-schedule.ts';

export async function jobs(context: Context, [dir]: string[], options: { limit?: string }): Promise<number> {
  const limit = limitOf(options.limit ?? '100');
  return withSchedule(context, false, async (schedule) => {
    const all = await schedule.jobs({ dir: dir ?? context.settings.source, limit });
    for (const job of all) print(context, job);
    if (all.length === 0) context.output.status('there are no jobs');
    return 0;
  });
}

function limitOf(text: string): number {
  const limit = Number(text);
  if (/^\d{1,6}$/.test(text) && limit > 0) return limit;
  throw new TmError('TM1002', `--limit ${text}: a whole number above 0 is expected`);
}

function print({ output }: Context, job: JobInfo): void {
  const { id, kind, reason, state, attempt, failure, backup, dueAt } = job;
  const root = Buffer.from(job.root, 'base64');
  const endedAt = job.endedAt?.toISOString() ?? null;
  output.line(
    {
      type: 'job',
      id,
      source: bytesToJson(root),
      agent: job.agent,
      kind,
      reason,
      state,
      attempt,
      dueAt,
      endedAt,
      failure: failure ?? null,
      backup: backup ?? null,
    },
    () => {
      const result = [backup, failure, attempt > 1 ? `attempt ${attempt}` : undefined].filter(Boolean);
      return `${state.padEnd(7)}  ${kind.padEnd(12)}  due ${dueAt.slice(0, 19).replace('T', ' ')}  ${bytesToDisplay(root)}  ${result.join(', ')}`.trimEnd();
    },
  );
}
