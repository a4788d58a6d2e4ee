import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { z } from 'zod';
import { catalogueRoutes, scheduleRoutes } from '../contracts/api/control.ts';
import { type GapView, watchRoutes as routes } from '../contracts/api/watch.ts';
import type { HttpClient } from '../http/client.ts';
import { until } from '../registry/embedded/fixtures.suite.ts';
import { parsePolicyText } from '../schedule/policy-options.ts';
import { ControlRig, type Running, type TestAgent } from './rig.suite.ts';

let rig: ControlRig;
let one: Running;
let agent: TestAgent;
let other: TestAgent;
let reader: HttpClient;
const HOUR = 3_600_000;

beforeAll(async () => {
  rig = await ControlRig.make();
  one = await rig.run({ defaultPolicy: parsePolicyText('--full-every 30d --watch-every 30s', 'UTC') });
  agent = await rig.agent(one, 'host');
  other = await rig.agent(one, 'other');
  reader = await rig.reader(one);
});
afterAll(() => rig.close());

function backUp(name: string) {
  const root = rig.folder(name);
  writeFileSync(join(root, 'file'), name);
  return rig.backUp(one, agent, root);
}

const sourceOf = async (name: string): Promise<string> => (await backUp(name)).source;

type Page = z.output<typeof routes.coverage.reply>;

/** Milliseconds ago. */
const ago = (ms: number): string => new Date(Date.now() - ms).toISOString();

const gap = (number: number, openedAt: string, more: Partial<GapView> = {}): GapView => ({
  ...{ gap: number, reason: 'overflow', openedAt, endedAt: null, closedAt: null },
  ...more,
});

const report = (id: string, more: object = {}, client = agent.client) =>
  client.call(routes.reportWatch, {
    params: { id },
    body: {
      ...{ by: 'fanotify', state: 'watching', pending: 0, recoveryPointMs: 0 },
      ...{ run: { startedAt: ago(HOUR), seenAt: ago(0) }, gaps: [] },
      ...more,
    },
  });

const watchOf = async (id: string) =>
  (await reader.call(catalogueRoutes.status, { query: {} })).sources.find(({ source }) => source.id === id)!
    .watch;

const eventsOf = async (id: string) =>
  (await one.cell.registry.outbox.pending(1000))
    .filter(({ sourceUid, type }) => sourceUid === id && type.startsWith('recovery-point'))
    .map(({ type }) => type);

test('what an agent says of its watch is in the status; nobody else says anything of its sources', async () => {
  const id = await sourceOf('said');
  expect(await watchOf(id)).toBeNull();
  const since = ago(60_000);
  const closed = { endedAt: ago(50_000), closedAt: ago(40_000) };
  const gaps = [gap(1, ago(90_000), closed), gap(2, since), gap(3, ago(30_000))];
  await report(id, { pending: 3, recoveryPointMs: 20_000, gaps });
  expect(await watchOf(id)).toMatchObject({
    ...{ by: 'fanotify', state: 'watching', pending: 3, exceeded: false },
    gaps: [{ reason: 'overflow', since, count: 2 }],
  });
  expect((await watchOf(id))!.recoveryPoint).toBeGreaterThanOrEqual(20);
  await report(id, { by: null, state: 'lost', run: null });
  expect(await watchOf(id)).toMatchObject({ by: null, oldestChange: null, recoveryPoint: 0, gaps: [] });
  await expect(report(id, {}, other.client)).rejects.toMatchObject({ code: 'TM1802' });
  await expect(report(id, {}, reader)).rejects.toMatchObject({ code: 'TM1802' });
  await expect(report(crypto.randomUUID())).rejects.toMatchObject({ code: 'TM1811' });
  for (const bad of [
    { state: 'Not a word' },
    { pending: -1 },
    { gaps: [gap(0, ago(1))] },
    { gaps: Array.from({ length: 5001 }, (_, i) => gap(i + 1, ago(1))) },
  ])
    await expect(report(id, bad)).rejects.toMatchObject({ code: 'TM1807' });
});

test('the reply has what the policy says, the own one or that of all', async () => {
  const id = await sourceOf('ruled');
  expect(await report(id)).toEqual({ everyMs: 30_000, recoveryLimitMs: null, excludes: [] });
  const body = { excludes: ['*.tmp'], watch: { every: '1s', recoveryPoint: '1min' } };
  await rig.admin(one).call(scheduleRoutes.putPolicy, { params: { id }, body });
  expect(await report(id)).toEqual({ everyMs: 1000, recoveryLimitMs: 60_000, excludes: ['*.tmp'] });
});

test('one event as the limit is passed and one as it holds again; also for an agent that fell silent', async () => {
  const { source: id, openedAt } = await backUp('late');
  const body = { watch: { recoveryPoint: '1min' } };
  await rig.admin(one).call(scheduleRoutes.putPolicy, { params: { id }, body });
  for (const recoveryPointMs of [0, 50_000, 61_000, 70_000]) await report(id, { recoveryPointMs });
  expect(await eventsOf(id)).toEqual(['recovery-point.exceeded']);
  expect(await watchOf(id)).toMatchObject({ exceeded: true });
  await report(id);
  const told = ['recovery-point.exceeded', 'recovery-point.recovered'];
  expect(await eventsOf(id)).toEqual(told);
  // Silent by now, and not yet when the backup was opened, which would have the change else.
  const { watches } = one.cell.registry;
  const [source] = (await one.cell.registry.backups.sources()).filter(({ uid }) => uid === id);
  const seenAt = new Date(Date.parse(openedAt) - 89_500);
  const oldestChange = new Date(seenAt.getTime() - 10 * 60_000);
  const waiting = { kind: 'inotify', state: 'watching', pending: 1, oldestChange, run: undefined };
  await watches.report(source!.id, { ...waiting, gaps: [] }, seenAt);
  await until('the third event', async () => (await eventsOf(id)).length === 3);
  expect(await eventsOf(id)).toEqual([...told, 'recovery-point.exceeded']);
});

test('what is forgotten of a period is not known, neither watched nor a gap', async () => {
  const id = await sourceOf('forgotten');
  const days = (n: number) => ago(n * 24 * HOUR);
  const [from, start, end, seen] = [days(430), days(420), days(410), ago(0)];
  const old = gap(1, start, { endedAt: end, closedAt: end });
  await report(id, { run: { startedAt: end, seenAt: seen }, gaps: [old] });
  const query = { from, to: seen };
  const { spans, gaps } = await reader.call(routes.coverage, { params: { id }, query });
  expect(spans).toEqual([
    { from, to: end, kind: 'unknown', gaps: [] },
    { from: end, to: seen, kind: 'watched', gaps: [] },
  ]);
  expect(gaps).toEqual([]);
});

test('the coverage of a period: unwatched, watched, gaps; page by page where there are many', async () => {
  const id = await sourceOf('covered');
  const [start, from, end, seen] = [ago(3 * HOUR), ago(2 * HOUR), ago(HOUR), ago(0)];
  const closed = gap(1, from, { endedAt: end, closedAt: end });
  await report(id, { run: { startedAt: start, seenAt: from }, gaps: [closed] });
  await report(id, { run: { startedAt: end, seenAt: seen }, gaps: [] });
  const query = { from: ago(4 * HOUR), to: ago(-HOUR) };
  const whole = await reader.call(routes.coverage, { params: { id }, query });
  expect(whole.spans.map((span) => [span.from, span.kind, span.gaps])).toEqual([
    [query.from, 'unwatched', []],
    [start, 'watched', []],
    [from, 'gap', [0]],
    [end, 'watched', []],
  ]);
  expect(Date.parse(whole.spans.at(-1)!.to)).toBeLessThan(Date.now() + 60_000);
  expect(whole).toMatchObject({ gaps: [closed], next: null });
  expect(await agent.client.call(routes.coverage, { params: { id }, query })).toMatchObject({ next: null });
  await expect(other.client.call(routes.coverage, { params: { id }, query })).rejects.toMatchObject({
    code: 'TM1802',
  });
  // An earlier run that ended is not taken for one that goes on.
  const before = { from: ago(2.5 * HOUR), to: ago(1.5 * HOUR) };
  const part = await reader.call(routes.coverage, { params: { id }, query: before });
  expect(part.spans.map(({ kind }) => kind)).toEqual(['watched', 'gap']);
  const many = Array.from({ length: 450 }, (_, i) => {
    const at = ago(HOUR - i * 2000);
    return gap(i + 10, at, { endedAt: new Date(Date.parse(at) + 1000).toISOString(), closedAt: at });
  });
  await report(id, { gaps: many });
  const spans: string[] = [];
  let pages = 0;
  for (let next: string | null = ago(HOUR - 500); next !== null; pages++) {
    const paging: { from: string; to: string } = { from: next, to: ago(0) };
    const page: Page = await reader.call(routes.coverage, { params: { id }, query: paging });
    expect(page.gaps.length).toBeLessThanOrEqual(200);
    spans.push(...page.spans.map(({ kind }) => kind));
    next = page.next;
  }
  expect(pages).toBe(3);
  expect(spans.filter((kind) => kind === 'gap').length).toBeGreaterThanOrEqual(450);
});
