import { randomUUID } from 'node:crypto';
import { decidePolicy } from '../cell/decide-policy.ts';
import { scheduleRoutes as routes } from '../contracts/api/control.ts';
import { type Binding, bind } from '../http/binding.ts';
import { TmError } from '../model/errors.ts';
import type { SourceRow } from '../registry/port.ts';
import type { DueJob } from '../schedule/job.ts';
import { parsePolicy, parsePolicyRequest } from '../schedule/policy.ts';
import type { JobHandle } from '../schedule/queue.ts';
import { plannedPage, policyOf, scheduledSources, settling } from '../schedule/scheduled-sources.ts';
import { decodeCursor, encodeCursor, NumberCursor } from './cursor.ts';
import { kindFor } from './open-backup.ts';
import { agentOf, type ControlParts } from './parts.ts';
import { sourceFor } from './scope.ts';
import { dueJobView, jobView, scheduledView } from './views.ts';

const JOB_WAITS = 1000;
/** Each holds off whoever decides on jobs, for a moment. */
const SCHEDULES = 2;
/** As the queue has it by default. */
const JOB_LEASE_SECONDS = 60;

/** Policies, and the jobs that are made of them. */
export const scheduleHandlers = (parts: ControlParts): Binding[] => [
  ...policyHandlers(parts),
  scheduleHandler(parts),
  ...jobHandlers(parts),
  ...agentJobHandlers(parts),
];

function policyHandlers({ cell, onSchedule }: ControlParts): Binding[] {
  const { registry } = cell;
  return [
    bind(routes.getPolicy, async ({ principal, params }) => {
      const source = await sourceFor(registry, principal, params.id);
      const row = await registry.policies.get(source.id);
      return { policy: row ? parsePolicy(row.policy) : null };
    }),
    bind(routes.putPolicy, async ({ principal, params, body }) => {
      const request = parsePolicyRequest(body);
      const source = await sourceFor(registry, principal, params.id);
      const policy = await decidePolicy(cell, source, settling(registry, source, request));
      onSchedule();
      return { policy };
    }),
    bind(routes.deletePolicy, async ({ principal, params }) => {
      const source = await sourceFor(registry, principal, params.id);
      const gone = await decidePolicy(cell, source, async (before) =>
        before === undefined ? undefined : null,
      );
      if (gone === undefined) throw new TmError('TM1811', 'the source has no policy');
      onSchedule();
      return undefined;
    }),
  ];
}

const scheduleHandler = ({ cell: { registry }, queue, defaultPolicy }: ControlParts): Binding =>
  bind(
    routes.schedule,
    async ({ principal, query: { source: uid, after, limit } }) => {
      const only = uid === undefined ? undefined : await sourceFor(registry, principal, uid);
      const afterId = decodeCursor(NumberCursor, after) ?? 0;
      const own = only && (await registry.policies.get(only.id));
      const one = only && policyOf(only, own?.policy, defaultPolicy);
      const { policies, lastId } = only
        ? { policies: one ? [one] : [], lastId: undefined }
        : await plannedPage(registry, { afterId, limit }, defaultPolicy);
      const sources = await scheduledSources(registry, queue, policies);
      return {
        sources: sources.map(scheduledView),
        next: lastId === undefined ? null : encodeCursor(lastId),
      };
    },
    { concurrent: SCHEDULES },
  );

function jobHandlers({ cell: { registry }, queue, onSchedule }: ControlParts): Binding[] {
  return [
    bind(routes.listJobs, async ({ query: { source, limit } }) => {
      const jobs = await queue.list({ limit, ...(source === undefined ? {} : { source }) });
      return { jobs: jobs.map(jobView) };
    }),
    bind(routes.makeJob, async ({ principal, body }) => {
      const source = await sourceFor(registry, principal, body.source);
      const now = await registry.now();
      const kind = kindFor(source, body.kind);
      const row = await registry.policies.get(source.id);
      const { excludes = [], tags = {} } = row ? parsePolicy(row.policy) : {};
      const job: DueJob = { ...manualJob(source, now, randomUUID()), kind, excludes, tags };
      await queue.deciding((desk) => desk.offer([job], now));
      onSchedule();
      return { job: dueJobView(job) };
    }),
  ];
}

/** A backup that is wished for, at once. Throws TM1811 where the source is no enrolled agent's. */
export function manualJob(
  source: SourceRow,
  now: Date,
  id: string,
): Omit<DueJob, 'kind' | 'excludes' | 'tags'> {
  if (source.agentUid === undefined) throw new TmError('TM1811', 'the source has no agent');
  return {
    id,
    source: source.uid,
    agent: source.agentUid,
    root: source.root.toString('base64'),
    reason: 'manual',
    slot: `${source.uid} manual ${id}`,
    dueAt: now.toISOString(),
    attempt: 1,
  };
}

function agentJobHandlers({ cell: { registry }, queue }: ControlParts): Binding[] {
  const held = (agent: string, id: string, handedOut: number): JobHandle => ({
    job: { id, agent },
    handedOut,
  });
  return [
    bind(
      routes.nextJob,
      async ({ principal, query, signal }) => {
        const handed = await queue.fetch(agentOf(principal), { waitMs: query.wait * 1000, signal });
        return {
          handed: handed ? { job: dueJobView(handed.job), handedOut: handed.handedOut } : null,
          leaseSeconds: JOB_LEASE_SECONDS,
        };
      },
      { concurrent: JOB_WAITS },
    ),
    bind(routes.jobHeartbeat, async ({ principal, params, body }) => {
      await queue.heartbeat(held(agentOf(principal), params.id, body.handedOut));
      return undefined;
    }),
    bind(routes.jobDone, async ({ principal, params, body: { handedOut, backup } }) => {
      await queue.done(held(agentOf(principal), params.id, handedOut), { backup, at: await registry.now() });
      return undefined;
    }),
    bind(routes.jobFailed, async ({ principal, params, body: { handedOut, code } }) => {
      await queue.fail(held(agentOf(principal), params.id, handedOut), { code, at: await registry.now() });
      return undefined;
    }),
  ];
}
