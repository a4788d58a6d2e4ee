import { afterEach, describe, expect, test, vi } from 'vitest';
import { type DueJob, jobId } from './job.ts';
import type { HandedJob, JobQueue } from './queue.ts';

export interface QueueRig {
  /** A queue of its own process, so to speak: several share what they hold. */
  open(options?: { readonly leaseSeconds?: number }): Promise<JobQueue>;
}

const AT = new Date('2026-03-01T00:00:00Z');
const LATER = new Date('2026-03-01T00:10:00Z');
const NOW = { waitMs: 0 };
let count = 0;

function job(agent: string, changes: Partial<DueJob> = {}): DueJob {
  const slot = changes.slot ?? `source-${++count} full 2026-03-01T00:00:00.000Z`;
  return {
    id: jobId(slot, changes.attempt ?? 1),
    source: slot.split(' ')[0]!,
    agent,
    root: Buffer.from([0x2f, 0xff]).toString('base64'),
    kind: 'full',
    reason: 'schedule',
    slot,
    dueAt: AT.toISOString(),
    attempt: 1,
    excludes: ['*.tmp'],
    tags: { a: 'b' },
    ...changes,
  };
}

/** What every queue has to keep; `rig` is made anew for each run of the suite. */
export function queueSuite(name: string, rig: () => QueueRig): void {
  const opened: JobQueue[] = [];
  const open = async (options?: { leaseSeconds?: number }) => {
    const queue = await rig().open(options);
    opened.push(queue);
    return queue;
  };
  const agentName = () => `agent ${++count}/ä`;
  const offer = (queue: JobQueue, ...jobs: DueJob[]) => queue.deciding((desk) => desk.offer(jobs, AT));
  const stateOf = async (queue: JobQueue, { source }: DueJob) =>
    (await queue.list({ source, limit: 10 })).map(({ state }) => state);
  /** Until the job is nobody's any more; others of the same queue may lose their leases, too. */
  const untilLost = (queue: JobQueue, one: DueJob) =>
    vi.waitUntil(
      async () => {
        await queue.releaseExpired(LATER);
        return (await stateOf(queue, one))[0] !== 'running';
      },
      { interval: 10, timeout: 5000 },
    );
  const refused = expect.objectContaining({ code: 'TM1813' });

  describe(name, () => {
    afterEach(async () => {
      await Promise.all(opened.splice(0).map((queue) => queue.close()));
    });

    test('a job comes out as it went in, to its agent alone', async () => {
      const queue = await open();
      const [mine, other] = [agentName(), agentName()];
      const wanted = job(mine);
      expect(await offer(queue, wanted)).toBe(1);
      expect(await queue.fetch(other, NOW)).toBeUndefined();
      const handed = await queue.fetch(mine, NOW);
      expect(handed).toEqual({ job: wanted, handedOut: 0 });
      expect(await queue.fetch(mine, NOW)).toBeUndefined();
      await queue.done(handed!, { backup: 'label', at: LATER });
      const [info] = await queue.list({ source: wanted.source, limit: 10 });
      expect(info).toEqual({
        ...wanted,
        state: 'done',
        offeredAt: AT,
        endedAt: LATER,
        failure: undefined,
        backup: 'label',
      });
    });

    test('one that waits is called off without a trace; one that runs is lost to its agent and has failed', async () => {
      const [a, b] = [await open(), await open()];
      const [waits, runs] = [job(agentName()), job(agentName(), { oneFileSystem: true, acceptRoot: true })];
      await offer(a, waits, runs);
      const handed = await b.fetch(runs.agent, NOW);
      expect(handed?.job).toEqual(runs);
      expect(await a.get(runs)).toMatchObject({ ...runs, state: 'running' });
      expect(await a.cancel(runs)).toBeUndefined();
      await b.heartbeat(handed!);
      const failure = { code: 'TM1508', at: LATER };
      expect(await a.cancel(runs, failure)).toBe('running');
      expect(await b.get(runs)).toMatchObject({ state: 'failed', failure: 'TM1508', endedAt: LATER });
      await expect(b.heartbeat(handed!)).rejects.toEqual(refused);
      await expect(b.done(handed!, { backup: 'x', at: LATER })).rejects.toEqual(refused);
      expect(await a.cancel(runs, failure)).toBeUndefined();
      expect(await a.cancel({ ...waits, agent: runs.agent }, failure)).toBeUndefined();
      expect(await a.cancel(waits)).toBe('waiting');
      expect(await b.get(waits)).toBeUndefined();
      expect(await b.fetch(waits.agent, NOW)).toBeUndefined();
    });

    test('of an agent that takes a job and one who calls it off at once, one wins', async () => {
      const [a, b] = [await open(), await open()];
      for (let round = 0; round < 10; round++) {
        const wanted = job(agentName());
        await offer(a, wanted);
        const [handed, was] = await Promise.all([b.fetch(wanted.agent, NOW), a.cancel(wanted)]);
        expect(handed === undefined).toBe(was === 'waiting');
        expect((await a.get(wanted))?.state).toBe(handed ? 'running' : undefined);
      }
    });

    test('what was offered is not taken again, whoever offers it, also when it has ended', async () => {
      const [a, b] = [await open(), await open()];
      const wanted = job(agentName());
      const counts = await Promise.all([offer(a, wanted), offer(b, wanted), offer(a, wanted)]);
      expect(counts.toSorted()).toEqual([0, 0, 1]);
      const handed = await a.fetch(wanted.agent, NOW);
      expect(await offer(b, wanted)).toBe(0);
      await a.done(handed!, { backup: 'x', at: LATER });
      expect(await offer(b, wanted)).toBe(0);
      expect(await b.fetch(wanted.agent, NOW)).toBeUndefined();
    });

    test('of many that fetch at once each job goes to one', async () => {
      const queues = await Promise.all([open(), open(), open()]);
      const agent = agentName();
      const jobs = Array.from({ length: 9 }, () => job(agent));
      await offer(queues[0]!, ...jobs);
      const handed = await Promise.all(
        Array.from({ length: 15 }, (_, i) => queues[i % 3]!.fetch(agent, NOW)),
      );
      const ids = handed.filter((one) => one !== undefined).map((one) => one.job.id);
      expect(ids.toSorted()).toEqual(jobs.map(({ id }) => id).toSorted());
    });

    test('who waits gets what is offered meanwhile, by this process or by another', async () => {
      const [a, b] = [await open(), await open()];
      for (const from of [a, b]) {
        const wanted = job(agentName());
        const waiting = a.fetch(wanted.agent, { waitMs: 30_000 });
        await offer(from, wanted);
        expect((await waiting)?.job).toEqual(wanted);
      }
    });

    test('a wait ends by its time, by its signal, and when the queue is closed', async () => {
      const queue = await open();
      const agent = agentName();
      expect(await queue.fetch(agent, { waitMs: 20 })).toBeUndefined();
      const gone = new AbortController();
      const aborted = queue.fetch(agent, { waitMs: 60_000, signal: gone.signal });
      gone.abort();
      expect(await aborted).toBeUndefined();
      const closed = queue.fetch(agent, { waitMs: 60_000 });
      await queue.close();
      expect(await closed).toBeUndefined();
    });

    test('the job of an agent that vanished goes back, and its late answer is refused', async () => {
      const queue = await open({ leaseSeconds: 0.05 });
      const wanted = job(agentName());
      await offer(queue, wanted);
      const lost = (await queue.fetch(wanted.agent, NOW))!;
      await untilLost(queue, wanted);
      expect(await stateOf(queue, wanted)).toEqual(['waiting']);
      const again = await queue.fetch(wanted.agent, NOW);
      expect(again).toEqual({ job: wanted, handedOut: 1 });
      await expect(queue.heartbeat(lost)).rejects.toEqual(refused);
      await expect(queue.done(lost, { backup: 'late', at: LATER })).rejects.toEqual(refused);
      await expect(queue.fail(lost, { code: 'TM1099', at: LATER })).rejects.toEqual(refused);
      await queue.done(again!, { backup: 'second', at: LATER });
      expect((await queue.list({ source: wanted.source, limit: 1 }))[0]?.backup).toBe('second');
    });

    test('a heartbeat keeps the lease', async () => {
      const queue = await open({ leaseSeconds: 0.5 });
      const [kept, lost] = [job(agentName()), job(agentName())];
      await offer(queue, kept, lost);
      const handed = (await queue.fetch(kept.agent, NOW))!;
      await queue.fetch(lost.agent, NOW);
      await vi.waitUntil(
        async () => {
          await queue.heartbeat(handed);
          await queue.releaseExpired(LATER);
          return (await stateOf(queue, lost))[0] === 'waiting';
        },
        { interval: 20, timeout: 5000 },
      );
      expect([await stateOf(queue, kept), await stateOf(queue, lost)]).toEqual([['running'], ['waiting']]);
    });

    test('a job whose agents vanish again and again has failed at last', async () => {
      const queue = await open({ leaseSeconds: 0.02 });
      const wanted = job(agentName());
      await offer(queue, wanted);
      let handed: HandedJob | undefined;
      for (let i = 0; i < 4; i++) {
        handed = await queue.fetch(wanted.agent, NOW);
        expect(handed?.handedOut).toBe(i);
        await untilLost(queue, wanted);
      }
      const [info] = await queue.list({ source: wanted.source, limit: 1 });
      expect(info).toMatchObject({ state: 'failed', failure: 'TM1512', endedAt: LATER });
      expect(await queue.fetch(wanted.agent, NOW)).toBeUndefined();
    });

    test('what an agent fails stays failed: trying again is a decision', async () => {
      const queue = await open();
      const wanted = job(agentName());
      await offer(queue, wanted);
      await queue.fail((await queue.fetch(wanted.agent, NOW))!, { code: 'TM1501', at: LATER });
      const [info] = await queue.list({ source: wanted.source, limit: 1 });
      expect(info).toMatchObject({ state: 'failed', failure: 'TM1501', endedAt: LATER });
      expect(await queue.fetch(wanted.agent, NOW)).toBeUndefined();
    });

    test('what waits can be withdrawn, what was begun can not', async () => {
      const queue = await open();
      const [waiting, begun] = [job(agentName()), job(agentName())];
      await offer(queue, waiting, begun);
      const handed = await queue.fetch(begun.agent, NOW);
      const withdrawn = await queue.deciding(async (desk) => {
        const found = await desk.find([waiting, begun]);
        const states = new Map<string, boolean>();
        for (const one of found) states.set(one.id, await desk.withdraw(one));
        return states;
      });
      expect([withdrawn.get(waiting.id), withdrawn.get(begun.id)]).toEqual([true, false]);
      expect(await queue.fetch(waiting.agent, NOW)).toBeUndefined();
      await queue.done(handed!, { backup: 'x', at: LATER });
    });

    test('the desk knows what has not ended, and what it is asked for by id', async () => {
      const queue = await open();
      const agent = agentName();
      const [ended, waiting] = [job(agent), job(agent)];
      await offer(queue, ended);
      await queue.done((await queue.fetch(agent, NOW))!, { backup: 'x', at: LATER });
      await offer(queue, waiting);
      await queue.deciding(async (desk) => {
        const ids = (await desk.unended()).map(({ id }) => id);
        expect(ids).toContain(waiting.id);
        expect(ids).not.toContain(ended.id);
        const found = await desk.find([ended, waiting, job(agent)]);
        expect(found.map(({ id }) => id).toSorted()).toEqual([ended.id, waiting.id].toSorted());
      });
    });

    test('one decides at a time, over all that are open', async () => {
      const queues = await Promise.all([open(), open(), open()]);
      let inside = 0;
      const decide = (queue: JobQueue) =>
        queue.deciding(async (desk) => {
          const seen = [++inside];
          for (let i = 0; i < 3; i++) {
            await desk.unended();
            seen.push(inside);
          }
          inside--;
          return seen;
        });
      const seen = await Promise.all(Array.from({ length: 9 }, (_, i) => decide(queues[i % 3]!)));
      expect(seen).toEqual(seen.map(() => [1, 1, 1, 1]));
    });

    test('a decision that fails leaves nothing', async () => {
      const queue = await open();
      const wanted = job(agentName());
      const failing = queue.deciding(async (desk) => {
        await desk.offer([wanted], AT);
        throw new Error('no');
      });
      await expect(failing).rejects.toThrow();
      expect(await queue.deciding((desk) => desk.find([wanted]))).toEqual([]);
      expect(await queue.fetch(wanted.agent, NOW)).toBeUndefined();
    });
  });
}
