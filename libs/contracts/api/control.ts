import { z } from 'zod';
import { BINARY, defineRoute } from '../../http/route.ts';
import {
  AgentView,
  BackupView,
  ChangeView,
  DomainView,
  DueJobView,
  EntryView,
  FoundView,
  JobView,
  PolicyView,
  ScheduledView,
  SourceStatus,
  SourceView,
} from './control-views.ts';
import { watchRoutes } from './watch.ts';
import {
  base64,
  digest,
  errorCode,
  jsonPath,
  kind,
  moment,
  next,
  paging,
  queryPath,
  tags,
  uuid,
  wait,
  whole,
} from './wire.ts';

const byId = z.object({ id: uuid });
const nothing = z.object({});
const name = z
  .string()
  .min(1)
  .max(255)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  .regex(/^[^\u0000-\u001f\u007f]+$/);

/** Enrolment, tokens and who is there. */
export const agentRoutes = {
  enrol: defineRoute({
    method: 'POST',
    path: '/v1/enrol',
    roles: ['enrol'],
    summary: 'Makes an agent, its token and its domain; the enrolment token is used up',
    body: z.object({ name }),
    reply: z.object({ agent: AgentView, token: z.string(), domain: DomainView }),
  }),
  signOn: defineRoute({
    method: 'POST',
    idempotent: true,
    path: '/v1/agent/sign-on',
    roles: ['agent'],
    summary: 'Claims the identity for this process; TM1803 while another one uses it',
    body: nothing,
    reply: z.object({ agent: AgentView, domain: DomainView, writers: z.array(z.url()) }),
  }),
  signOff: defineRoute({
    method: 'POST',
    idempotent: true,
    path: '/v1/agent/sign-off',
    roles: ['agent'],
    summary: 'Frees the identity',
    body: nothing,
  }),
  listAgents: defineRoute({
    method: 'GET',
    path: '/v1/agents',
    roles: ['reader'],
    summary: 'Agents in the order of their enrolment',
    query: z.object(paging),
    reply: z.object({ agents: z.array(AgentView), next }),
  }),
  makeToken: defineRoute({
    method: 'POST',
    path: '/v1/tokens',
    roles: ['admin'],
    summary: 'Makes a token; it is shown this once',
    body: z.object({
      kind: z.enum(['enrol', 'reader', 'admin']),
      name,
      /** Default: 24 for enrolment, for ever for the others. */
      hours: z.number().positive().max(87_600).optional(),
      /** Of an enrolment token: the domain to join. Without it the agent gets one of its own. */
      domain: uuid.optional(),
      /** Of an enrolment token: the agent whose host was set up anew. Its sources go on, its old tokens end. */
      agent: uuid.optional(),
    }),
    reply: z.object({ id: z.string(), token: z.string(), expiresAt: moment.nullable() }),
  }),
  revokeToken: defineRoute({
    method: 'DELETE',
    path: '/v1/tokens/:id',
    roles: ['admin'],
    summary: 'Revokes a token, or an agent with all of its tokens',
    params: byId,
  }),
};

/** All that an agent needs to make the backup that it opened. */
export const OpenReply = z.object({
  backup: BackupView,
  source: z.object({
    /** The number by which messages name it. */
    number: whole,
    uid: uuid,
    domain: z.string(),
    /** Key of entry hashes. */
    key: digest,
    /** What the root looked like at the last backup, as the agent wrote it. */
    rootHint: z.string().nullable(),
    baseline: whole,
  }),
  /** Identity and digest of the state that changes are counted from; null for a source's first backup. */
  base: z.object({ backup: BackupView, stateDigest: digest }).nullable(),
  /**
   * Some blocks of the domain are damaged: the entries of the base that need them (route `damaged`) have to be read
   * again, whatever their state is.
   */
  damaged: z.boolean(),
  /** Key of the messages' MACs. */
  macKey: digest,
  /** The lease ends that many seconds after the last heartbeat; ask every `renewSeconds`. */
  lease: z.object({ seconds: whole, renewSeconds: whole }),
  /** Batches go to shards in turn. */
  shards: whole.min(1),
  /** URLs of storage writers; any of them takes any request. */
  writers: z.array(z.url()),
  /** What the source's policy leaves out, for who watches it; missing where the policy can't be read. */
  excludes: z.array(z.string()).optional(),
});
export type OpenReply = z.infer<typeof OpenReply>;

export const backupRoutes = {
  open: defineRoute({
    method: 'POST',
    path: '/v1/backups',
    roles: ['agent'],
    summary: 'Opens a backup of a root of this agent; TM1501 while one is under way',
    body: z.object({
      /** Absolute. */
      root: jsonPath,
      /** Default: differential when there is a baseline. */
      kind: kind.optional(),
      tags: tags.default({}),
    }),
    reply: OpenReply,
  }),
  heartbeat: defineRoute({
    method: 'POST',
    idempotent: true,
    path: '/v1/backups/:id/heartbeat',
    roles: ['agent'],
    summary: 'Renews the lease; TM1502 when the backup has ended',
    params: byId,
    body: nothing,
    reply: z.object({ state: BackupView.shape.state, leaseSeconds: whole }),
  }),
  abort: defineRoute({
    method: 'POST',
    idempotent: true,
    path: '/v1/backups/:id/abort',
    roles: ['agent'],
    summary: 'Ends an open or sealed backup as failed; one that is committing goes on',
    params: byId,
    body: z.object({ code: errorCode }),
    reply: z.object({ backup: BackupView }),
  }),
  getBackup: defineRoute({
    method: 'GET',
    path: '/v1/backups/:id',
    roles: ['reader', 'agent'],
    summary: 'One backup; with wait it answers when the backup has ended, or after that many seconds',
    params: byId,
    query: z.object({ wait }),
    reply: z.object({ backup: BackupView }),
  }),
  damaged: defineRoute({
    method: 'GET',
    path: '/v1/backups/:id/damaged',
    roles: ['agent'],
    summary: "Entries of an open backup's base that have to be read again, in order",
    params: byId,
    query: z.object(paging),
    reply: z.object({ paths: z.array(jsonPath), next }),
  }),
};

/** Of entries: at one, at its direct children, or at all below. */
const listing = z.object({
  ...paging,
  within: queryPath.optional(),
  depth: z.enum(['children', 'all']).default('all'),
});

export const catalogueRoutes = {
  listSources: defineRoute({
    method: 'GET',
    path: '/v1/sources',
    roles: ['reader', 'agent'],
    summary: 'Sources in the order in which they were made; an agent sees its own',
    query: z.object(paging),
    reply: z.object({ sources: z.array(SourceView), next }),
  }),
  listBackups: defineRoute({
    method: 'GET',
    path: '/v1/backups',
    roles: ['reader', 'agent'],
    summary: 'Committed backups by source, oldest first; all: those of every state',
    query: z.object({
      ...paging,
      source: uuid.optional(),
      all: z
        .enum(['true', 'false'])
        .default('false')
        .transform((text) => text === 'true'),
    }),
    reply: z.object({ backups: z.array(BackupView), next }),
  }),
  listEntries: defineRoute({
    method: 'GET',
    path: '/v1/backups/:id/entries',
    roles: ['reader', 'agent'],
    summary: 'Entries of a committed backup in order, the root first',
    params: byId,
    query: listing,
    reply: z.object({ entries: z.array(EntryView), next }),
  }),
  /**
   * u16 length of the next page's `after` in ASCII (0: last page), that, and the records (model/records) with state
   * and hints.
   */
  listRecords: defineRoute({
    method: 'GET',
    path: '/v1/backups/:id/records',
    roles: ['reader', 'agent'],
    summary: 'The same as binary records with state and hints',
    params: byId,
    query: listing.extend({ limit: z.coerce.number().int().min(1).max(10_000).default(200) }),
    reply: BINARY,
  }),
  listProblems: defineRoute({
    method: 'GET',
    path: '/v1/backups/:id/problems',
    roles: ['reader', 'agent'],
    beside: true,
    summary: 'What could not be read',
    params: byId,
    query: z.object(paging),
    reply: z.object({ problems: z.array(z.object({ path: jsonPath, code: errorCode })), next }),
  }),
  diff: defineRoute({
    method: 'GET',
    path: '/v1/backups/:id/diff',
    roles: ['reader', 'agent'],
    summary: 'What differs from another backup of the source, its baseline by default',
    params: byId,
    query: z.object({ ...paging, from: uuid.optional() }),
    reply: z.object({ changes: z.array(ChangeView), next }),
  }),
  find: defineRoute({
    method: 'GET',
    path: '/v1/find',
    roles: ['reader', 'agent'],
    summary: 'Paths whose name fits a pattern (*, ** and ?), each with the newest backup that holds it',
    query: z.object({ ...paging, pattern: z.string().min(1).max(1024), source: uuid.optional() }),
    reply: z.object({ found: z.array(FoundView), next }),
  }),
  status: defineRoute({
    method: 'GET',
    path: '/v1/status',
    roles: ['reader'],
    summary: 'How each source stands, in the order in which they were made',
    query: z.object(paging),
    reply: z.object({
      now: moment,
      store: z.object({ id: uuid, ownerGeneration: whole }),
      sources: z.array(SourceStatus),
      next,
    }),
  }),
  listWriters: defineRoute({
    method: 'GET',
    path: '/v1/writers',
    roles: ['reader', 'agent'],
    summary: 'URLs of storage writers; any of them takes any request',
    reply: z.object({ writers: z.array(z.url()) }),
  }),
  domainKeys: defineRoute({
    method: 'GET',
    path: '/v1/keys/:domain',
    roles: ['reader'],
    summary: "A domain's keys as wrapped to each of its recipients",
    params: z.object({ domain: uuid }),
    reply: z.object({ keys: z.array(z.object({ name: z.string(), wrapped: base64 })) }),
  }),
  dataKey: defineRoute({
    method: 'GET',
    path: '/v1/keys/data/:id',
    roles: ['reader'],
    summary: "A data key, wrapped to its domain's key",
    params: z.object({ id: z.string().regex(/^[0-9a-f]{32}$/) }),
    reply: z.object({ wrapped: base64 }),
  }),
};

/** The queue keeps jobs as JSON in the registry, which takes no NUL and nothing that is no text. */
const jobText = z.string().refine((text) => text.isWellFormed() && !text.includes('\0'), 'no text');

/** How often the job was handed out before it came into these hands: a job that is in others now is TM1813. */
const handedOut = whole;

export const scheduleRoutes = {
  getPolicy: defineRoute({
    method: 'GET',
    path: '/v1/sources/:id/policy',
    roles: ['reader'],
    summary: "A source's policy; null: it has none",
    params: byId,
    reply: z.object({ policy: PolicyView.nullable() }),
  }),
  putPolicy: defineRoute({
    method: 'PUT',
    path: '/v1/sources/:id/policy',
    roles: ['admin'],
    summary: "Replaces a source's policy; gives it as it is kept, with the moments from which it counts",
    params: byId,
    body: PolicyView,
    reply: z.object({ policy: PolicyView }),
  }),
  deletePolicy: defineRoute({
    method: 'DELETE',
    path: '/v1/sources/:id/policy',
    roles: ['admin'],
    summary: "Drops a source's policy: nothing is due by itself any more",
    params: byId,
  }),
  schedule: defineRoute({
    method: 'GET',
    path: '/v1/schedule',
    roles: ['reader'],
    summary:
      'Sources that have a policy or get the default one, in the order in which they were made, and what is due when',
    query: z.object({ ...paging, source: uuid.optional() }),
    reply: z.object({ sources: z.array(ScheduledView), next }),
  }),
  listJobs: defineRoute({
    method: 'GET',
    path: '/v1/jobs',
    roles: ['reader'],
    summary: 'Jobs: those that have not ended first, then the newest',
    query: z.object({ source: uuid.optional(), limit: paging.limit }),
    reply: z.object({ jobs: z.array(JobView) }),
  }),
  makeJob: defineRoute({
    method: 'POST',
    path: '/v1/jobs',
    roles: ['admin'],
    summary: 'Has a backup made now by the agent of the source',
    body: z.object({ source: uuid, kind: kind.optional() }),
    reply: z.object({ job: DueJobView }),
  }),
  askBackup: defineRoute({
    method: 'PUT',
    path: '/v1/jobs/:id',
    roles: ['agent'],
    beside: true,
    summary: "Has a folder of this agent's own backed up by its process now; the id is the caller's, and new",
    params: byId,
    body: z.object({
      /** Absolute. */
      root: jsonPath,
      /** Default: differential when there is a baseline. */
      kind: kind.optional(),
      excludes: z.array(jobText).default([]),
      tags: z.record(jobText, jobText).pipe(tags).default({}),
      oneFileSystem: z.boolean().default(false),
      acceptRoot: z.boolean().default(false),
    }),
    reply: z.object({ job: DueJobView }),
  }),
  getJob: defineRoute({
    method: 'GET',
    path: '/v1/jobs/:id',
    roles: ['agent'],
    beside: true,
    summary: 'A job of this agent, and the backup that it made',
    params: byId,
    reply: z.object({
      job: JobView,
      /** While it waits. Away: no process has the agent's identity; busy: one has, and makes a backup. */
      agent: z.enum(['away', 'idle', 'busy']).nullable(),
      /** `baseline`: label of what a differential depends on. */
      made: z.object({ backup: BackupView, baseline: z.string().nullable() }).nullable(),
    }),
  }),
  cancelJob: defineRoute({
    method: 'DELETE',
    path: '/v1/jobs/:id',
    roles: ['agent'],
    beside: true,
    summary: 'Ends a job of this agent: the process that has it gives its backup up within seconds',
    params: byId,
    query: z.object({ only: z.enum(['waiting']).optional() }),
    reply: z.object({
      /** What it was; null: it had ended, or with `only` it does not wait. */
      was: z.enum(['waiting', 'running']).nullable(),
    }),
  }),
  nextJob: defineRoute({
    method: 'GET',
    path: '/v1/agent/jobs',
    roles: ['agent'],
    summary: 'A job of this agent, once; null when there was none for that many seconds',
    query: z.object({ wait }),
    reply: z.object({
      handed: z.object({ job: DueJobView, handedOut }).nullable(),
      leaseSeconds: whole,
    }),
  }),
  jobHeartbeat: defineRoute({
    method: 'POST',
    idempotent: true,
    path: '/v1/agent/jobs/:id/heartbeat',
    roles: ['agent'],
    summary: 'Keeps the job for another minute; TM1813 when it was given to somebody else',
    params: byId,
    body: z.object({ handedOut }),
  }),
  jobDone: defineRoute({
    method: 'POST',
    idempotent: true,
    path: '/v1/agent/jobs/:id/done',
    roles: ['agent'],
    summary: 'The backup is committed',
    params: byId,
    body: z.object({ handedOut, backup: uuid }),
  }),
  jobFailed: defineRoute({
    method: 'POST',
    idempotent: true,
    path: '/v1/agent/jobs/:id/failed',
    roles: ['agent'],
    summary: 'The backup failed',
    params: byId,
    body: z.object({ handedOut, code: errorCode }),
  }),
};

/** Every route of the control plane. */
export const controlRoutes = {
  ...agentRoutes,
  ...backupRoutes,
  ...catalogueRoutes,
  ...scheduleRoutes,
  ...watchRoutes,
};
