import { scheduleRoutes as routes } from '../contracts/api/control.ts';
import { bytesOfJson } from '../contracts/api/wire.ts';
import { type Binding, bind } from '../http/binding.ts';
import { BusyError } from '../http/problem.ts';
import { TmError } from '../model/errors.ts';
import type { Registry } from '../registry/port.ts';
import type { DueJob, JobInfo } from '../schedule/job.ts';
import { SILENCE_SECONDS } from './authenticator.ts';
import { kindFor, sourceOf } from './open-backup.ts';
import { agentOf, type ControlParts } from './parts.ts';
import { manualJob } from './schedule-handlers.ts';
import { backupView, dueJobView, jobView } from './views.ts';

/** Jobs of one agent that were asked for and have not ended; more are told to come again. */
const MAX_ASKED = 100;
const BUSY_SECONDS = 5;

/** Backups that somebody beside an agent's process has it make: of the agent's own folders, with its own token. */
export function askedBackupHandlers(parts: ControlParts): Binding[] {
  const { queue, onSchedule, cell } = parts;
  const { registry } = cell;
  const jobFor = async (agent: string, id: string): Promise<JobInfo> => {
    const job = await queue.get({ agent, id });
    if (!job) throw new TmError('TM1811', `job ${id}`);
    return job;
  };
  return [
    bind(routes.askBackup, async ({ principal, params: { id }, body }) => {
      const agent = agentOf(principal);
      const { root, kind, excludes, tags, oneFileSystem, acceptRoot } = body;
      const source = await sourceOf(parts, { agentUid: agent, root: bytesOfJson(root) });
      const now = await registry.now();
      const job: DueJob = {
        ...manualJob(source, now, id),
        kind: kindFor(source, kind),
        excludes,
        tags,
        oneFileSystem,
        acceptRoot,
      };
      await queue.deciding(async (desk) => {
        const asked = (await desk.unended()).filter((one) => one.agent === agent && one.reason === 'manual');
        if (asked.length >= MAX_ASKED)
          throw new BusyError(503, BUSY_SECONDS, 'too many jobs wait for the agent');
        await desk.offer([job], now);
      });
      onSchedule();
      return { job: dueJobView(await jobFor(agent, id)) };
    }),
    bind(routes.getJob, async ({ principal, params: { id } }) => {
      const agent = agentOf(principal);
      const job = await jobFor(agent, id);
      return {
        job: jobView(job),
        agent: job.state === 'waiting' ? await stateOfAgent(registry, agent) : null,
        made: await madeBackup(registry, job),
      };
    }),
    bind(routes.cancelJob, async ({ principal, params: { id }, query: { only } }) => {
      const job = { agent: agentOf(principal), id };
      const failure = only ? undefined : { code: 'TM1508', at: await registry.now() };
      const was = await queue.cancel(job, failure);
      onSchedule();
      return { was: was ?? null };
    }),
  ];
}

async function stateOfAgent(registry: Registry, uid: string): Promise<'away' | 'idle' | 'busy'> {
  const { access, backups, catalogue } = registry;
  const [agent, now] = [await access.agent(uid), await registry.now()];
  const seenAt = agent?.instance === undefined ? undefined : agent.instanceSeenAt;
  if (!seenAt || now.getTime() - seenAt.getTime() >= SILENCE_SECONDS * 1000) return 'away';
  const sources = await catalogue.sourcesByIds((await backups.active()).map(({ sourceId }) => sourceId));
  return [...sources.values()].some(({ agentUid }) => agentUid === uid) ? 'busy' : 'idle';
}

/** What an agent said that it made; nothing where that is a backup of another source. */
async function madeBackup({ backups, catalogue }: Registry, { backup: id, source: uid }: JobInfo) {
  const backup = id === undefined ? undefined : await backups.get(id);
  const source = backup && (await catalogue.source({ id: backup.sourceId }));
  if (!backup || source?.uid !== uid) return null;
  const baseline = backup.kind === 'full' ? undefined : await backups.at(source.id, backup.baselineSeq);
  return { backup: backupView(backup, uid), baseline: baseline?.label ?? null };
}
