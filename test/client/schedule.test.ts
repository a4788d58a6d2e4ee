import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { expect } from 'vitest';
import { scheduleRoutes } from '../../libs/contracts/api/control.ts';
import type { DueJobView } from '../../libs/contracts/api/control-views.ts';
import { HttpClient } from '../../libs/http/client.ts';
import type { Result } from '../command.ts';
import { afterAll, beforeAll, test } from '../needs.ts';
import { Services } from './services.suite.ts';

let services: Services;
let source: string;
let fresh: string;
/** `AGENT:DIR` of the source, as a host that is no agent names it. */
let named: string;
/** Of an administrator, and of a reader. */
let admin: NodeJS.ProcessEnv;
let reader: NodeJS.ProcessEnv;

const asAdmin = (...args: string[]): Promise<Result> => services.place.run(args, admin);
const asReader = (...args: string[]): Promise<Result> => services.place.run(args, reader);
const POLICY = ['--full-every', '7d', '--differential-every', '1h'];

beforeAll(async () => {
  services = await Services.start('client-schedule');
  reader = await services.client();
  admin = { ...reader, TIDEMARK_TOKEN: (await services.token('admin')).token };
  source = services.place.path('source');
  fresh = services.place.path('fresh');
  for (const dir of [source, fresh]) mkdirSync(dir);
  writeFileSync(`${source}/file`, 'content');
  const { token } = await services.token('enrol');
  await services.place.ok(['backup', source], { ...reader, TIDEMARK_ENROL_TOKEN: token });
  const { lines } = await services.place.ok(['status'], reader);
  named = `${lines[0]!.agent}:${source}`;
}, 120_000);

afterAll(() => services?.close(), 60_000);

test('before there is a policy, lists are empty and nothing can be removed', {
  timeout: 60_000,
}, async () => {
  for (const args of [['policy', 'show'], ['policy', 'show', source], ['schedule'], ['jobs']])
    expect(await asReader(...args), args.join(' ')).toMatchObject({ status: 0, lines: [] });
  expect((await asAdmin('policy', 'remove', source)).last).toMatchObject({ removed: false });
});

test('only an administrator sets a policy; one that makes no sense and a folder without a backup are refused', {
  timeout: 60_000,
}, async () => {
  const refused = async (env: NodeJS.ProcessEnv, dir: string, ...more: string[]) => {
    const { status, last } = await services.place.run(['policy', 'set', dir, ...more], env);
    return { status, ...last };
  };
  expect(await refused(reader, source, ...POLICY)).toMatchObject({
    status: 1,
    code: 'TM1802',
    guidance: expect.stringContaining('admin'),
  });
  expect(await refused({ ...admin, TIDEMARK_TOKEN: '' }, source, ...POLICY)).toMatchObject({
    code: 'TM1802',
  });
  expect(await refused(admin, source, '--full-every', '3m')).toMatchObject({ status: 2, code: 'TM1812' });
  expect(await refused(admin, fresh, ...POLICY)).toMatchObject({
    status: 10,
    code: 'TM1703',
    message: expect.stringContaining('back it up once'),
  });
  expect((await asReader('policy', 'show')).lines).toEqual([]);
});

test('a policy is set, shown and replaced; what is due is said', { timeout: 60_000 }, async () => {
  const first = await asAdmin('policy', 'set', source, ...POLICY, '--tag', 'by=policy');
  expect(first).toMatchObject({ status: 0, last: { type: 'summary', source } });
  const set = (await asAdmin('policy', 'set', source, ...POLICY)).last;
  const { full, differential } = first.last.policy as { full: object; differential: object };
  expect(set.policy).toMatchObject({ full, differential });
  expect(set.policy).not.toHaveProperty('tags');
  for (const dir of [[], [source], [named]])
    expect((await asReader('policy', 'show', ...dir)).lines).toEqual([{ ...set, type: 'policy' }]);
  for (const dir of [[], [source]])
    expect((await asReader('schedule', ...dir)).lines).toEqual([
      expect.objectContaining({
        type: 'schedule',
        source,
        next: expect.objectContaining({ kind: 'differential' }),
        lastFull: expect.any(String),
        job: null,
      }),
    ]);
});

test('a host without a home names sources by agent, and makes none', { timeout: 60_000 }, async () => {
  const home = services.place.path('nobody');
  const there = (...args: string[]) => services.place.run(args, { ...admin, TIDEMARK_HOME: home });
  const elsewhere = `elsewhere:${source}`;
  expect(await there('policy', 'set', elsewhere, ...POLICY)).toMatchObject({ last: { code: 'TM1703' } });
  expect(await there('policy', 'set', named, ...POLICY)).toMatchObject({ status: 0, last: { source } });
  for (const args of [
    ['policy', 'show', elsewhere],
    ['schedule', elsewhere],
    ['jobs', elsewhere],
  ])
    expect(await there(...args), args[0]).toMatchObject({ status: 10, last: { code: 'TM1703' } });
  expect(existsSync(home)).toBe(false);
});

test('a job is listed from its offer to its end', { timeout: 60_000 }, async () => {
  const job = await offered();
  const waiting = { type: 'job', id: job.id, source, kind: 'differential', reason: 'manual' };
  for (const dir of [[], [source]])
    expect((await asReader('jobs', ...dir)).lines).toEqual([
      expect.objectContaining({
        ...waiting,
        agent: job.agent,
        state: 'waiting',
        endedAt: null,
        backup: null,
      }),
    ]);
  const due = { kind: 'differential', state: 'waiting', dueAt: job.dueAt };
  expect((await asReader('schedule', source)).lines).toMatchObject([{ job: due }]);
  const second = await offered();
  expect((await asReader('jobs', '--limit', '1')).lines).toHaveLength(1);
  const all = (await asReader('jobs')).lines.map((line) => line.id);
  expect(all.toSorted()).toEqual([job.id, second.id].toSorted());
  expect(await asReader('jobs', '--limit', '1001')).toMatchObject({ status: 2, last: { code: 'TM1002' } });
});

/** A job that an administrator asks for. */
async function offered(): Promise<DueJobView> {
  const client = new HttpClient({ server: services.url, token: admin.TIDEMARK_TOKEN });
  const { sources } = await client.call(scheduleRoutes.schedule, { query: {} });
  const body = { source: sources[0]!.source };
  const { job } = await client.call(scheduleRoutes.makeJob, { body });
  client.close();
  return job;
}

test('a policy is removed by an administrator, once', { timeout: 60_000 }, async () => {
  expect(await asReader('policy', 'remove', source)).toMatchObject({ status: 1, last: { code: 'TM1802' } });
  expect((await asReader('policy', 'show')).lines).toHaveLength(1);
  expect((await asAdmin('policy', 'remove', named)).last).toMatchObject({ type: 'summary', removed: true });
  expect((await asAdmin('policy', 'remove', source)).last).toMatchObject({ removed: false });
  for (const args of [['policy', 'show'], ['schedule']])
    expect(await asReader(...args)).toMatchObject({ status: 0, lines: [] });
});
