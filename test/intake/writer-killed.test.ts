import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { packName } from '../../libs/blocks/pack.ts';
import { HttpClient } from '../../libs/http/client.ts';
import { RemoteIntake } from '../../libs/intake/remote-intake.ts';
import { AGENT, INSTANCE, IntakeRig } from '../../libs/intake/rig.suite.ts';
import { Writers } from '../../libs/intake/writers.ts';
import type { StopAt, WriterProcess } from './writer-process.ts';

const SCRIPT = fileURLToPath(new URL('./writer-process.ts', import.meta.url));

let rig: IntakeRig;
const children: Writer[] = [];

beforeAll(async () => {
  rig = await IntakeRig.make();
});
afterEach(async () => {
  for (const child of children.splice(0)) await child.kill();
});
afterAll(() => rig.close());

/** A storage writer as a process of its own. */
class Writer {
  readonly client: HttpClient;
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(process: ChildProcess, lines: AsyncIterator<string>, url: string) {
    this.#process = process;
    this.#lines = lines;
    this.client = new HttpClient({ server: url, token: AGENT, instance: INSTANCE });
  }

  static async start(stopAt: StopAt): Promise<Writer> {
    const { connection, storeUrl, agent } = rig;
    const given: WriterProcess = { connection, storeUrl, tokens: [[AGENT, agent]], stopAt };
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', SCRIPT], {
      env: { ...process.env, WRITER: JSON.stringify(given) },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    const { value } = await lines.next();
    expect(value).toMatch(/^listening /);
    const writer = new Writer(child, lines, (value as string).split(' ')[1]!);
    children.push(writer);
    return writer;
  }

  async line(): Promise<string> {
    return (await this.#lines.next()).value;
  }

  async kill(): Promise<void> {
    this.client.close();
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.kill('SIGKILL');
    await once(this.#process, 'exit');
  }
}

const intakeOver = async (writers: readonly Writer[]): Promise<RemoteIntake> =>
  new RemoteIntake({
    writers: new Writers({
      clients: writers.map(({ client }) => client),
      deadline: 30_000,
      world: {
        now: () => performance.now(),
        sleep: () => new Promise((resolve) => setImmediate(resolve)),
        random: Math.random,
      },
    }),
    backupId: (await rig.open()).backup.id,
    wrappedKey: async (id) => ({ id, wrapped: rig.dataKey.wrapped }),
  });

const STOPS: { stopAt: StopAt; when: string }[] = [
  { stopAt: 'row', when: 'the row of its pack is written' },
  { stopAt: 'object', when: 'its object is stored and no block row is' },
  { stopAt: 'block-rows', when: 'all is stored and the answer is not sent' },
];

test.each(STOPS)(
  'a writer that is killed when $when: another one takes the same frames',
  async ({ stopAt }) => {
    const [dying, other] = [await Writer.start(stopAt), await Writer.start('never')];
    const intake = await intakeOver([dying, other, dying]);
    const frames = [rig.frame(1000, 2000), rig.frame(2_000_000)];
    const before = await rig.packs();
    const acknowledged: boolean[] = [];
    const unfinished = await rig.registry.blocks.unfinishedPacks(rig.domain.id);
    expect(unfinished).toEqual([]);
    // Two puts of a round, so that one of them meets the writer that stops.
    const puts = frames.map((frame) => {
      const { durable } = intake.put([frame]);
      void durable.then(() => acknowledged.push(true));
      const flushed = intake.flush();
      return Promise.all([durable, flushed]);
    });
    expect(await dying.line()).toBe(`stopped ${stopAt}`);
    await dying.kill();
    await Promise.all(puts);
    expect(acknowledged).toHaveLength(2);
    expect(await rig.present(frames)).toEqual([1, 1, 1]);
    expect(await rig.registry.blocks.unfinishedPacks(rig.domain.id)).toEqual([]);
    const added = (await rig.packs()).filter((name) => !before.includes(name));
    expect(added).toHaveLength(2);
    const rows: string[] = [];
    for await (const packs of rig.registry.blocks.packs(rig.domain.id))
      for (const { id, state } of packs) if (state === 'ready') rows.push(packName(id));
    expect(rows).toEqual(expect.arrayContaining(added));
  },
);

test('a writer that is killed with frames on their way: another one takes them', async () => {
  const [dying, other] = [await Writer.start('never'), await Writer.start('never')];
  const intake = await intakeOver([dying, other]);
  const before = await rig.packs();
  const frame = rig.frame(7_000_000);
  const { durable } = intake.put([frame]);
  const flushed = intake.flush();
  await dying.kill();
  await Promise.all([durable, flushed]);
  expect(await rig.present([frame])).toEqual([1]);
  expect((await rig.packs()).length - before.length).toBe(1);
});
