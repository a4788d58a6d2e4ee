import { scheduleRoutes } from '../contracts/api/control.ts';
import type { DueJobView } from '../contracts/api/control-views.ts';
import { bytesOfJson } from '../contracts/api/wire.ts';
import type { HttpClient } from '../http/client.ts';
import type { DueJob } from '../schedule/job.ts';
import type { JobHandle, JobQueue } from '../schedule/queue.ts';

/** Milliseconds beyond a long poll's wait in which its answer has to begin. */
const ANSWER_MS = 15_000;
/** Milliseconds in which the end of a job is told; who stops meanwhile does not wait longer. */
const END_MS = 5000;

export const dueJobOf = (view: DueJobView): DueJob => ({
  ...view,
  root: bytesOfJson(view.root).toString('base64'),
});

/** The jobs of the agent whose token the client has, as the control plane hands them out. */
export function remoteJobs(control: HttpClient): Pick<JobQueue, 'fetch' | 'heartbeat' | 'done' | 'fail'> {
  const at = ({ job, handedOut }: JobHandle) => ({ params: { id: job.id }, body: { handedOut } });
  return {
    async fetch(_agent, { waitMs, signal }) {
      const query = { wait: Math.floor(waitMs / 1000) };
      const options = { signal, timeout: waitMs + ANSWER_MS };
      const { handed } = await control.call(scheduleRoutes.nextJob, { query }, options);
      return handed ? { ...handed, job: dueJobOf(handed.job) } : undefined;
    },
    async heartbeat(handle) {
      await control.call(scheduleRoutes.jobHeartbeat, at(handle));
    },
    async done(handle, { backup }) {
      const { params, body } = at(handle);
      await control.call(scheduleRoutes.jobDone, { params, body: { ...body, backup } });
    },
    async fail(handle, { code }) {
      const { params, body } = at(handle);
      await control.call(
        scheduleRoutes.jobFailed,
        { params, body: { ...body, code } },
        { deadline: END_MS, signal: AbortSignal.timeout(END_MS) },
      );
    },
  };
}
