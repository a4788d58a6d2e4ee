import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CommitMessage } from '../contracts/messages.ts';
import { TmError } from '../model/errors.ts';
import { committedEvent, NOW, newSource } from '../registry/fixtures.suite.ts';
import { RegistryRig } from '../registry/postgres/rig.suite.ts';
import type { Transport } from '../transport/port.ts';
import { OutboxLoop } from './outbox-loop.ts';

let rig: RegistryRig;
beforeAll(async () => {
  rig = await RegistryRig.make();
});
afterAll(() => rig?.close());

/** Fails `times` events of a backup, each for another reason. */
async function fail(sourceId: number, times: number): Promise<void> {
  const { backups } = rig.registry;
  for (let n = 0; n < times; n++) {
    const { backup } = await backups.open({ sourceId, kind: 'full', tags: {} }, NOW);
    await backups.fail(backup.id, 'TM1508', [{ ...committedEvent(backup.id), type: 'backup.failed' }]);
  }
}

/** A topic that takes what it is given, unless told to refuse. */
class Topic {
  readonly got: CommitMessage[] = [];
  refusals = 0;
  #waiting: (() => void)[] = [];

  readonly publish: Transport['publish'] = async (_topic, messages) => {
    if (this.refusals-- > 0) throw new TmError('TM1515', 'of the test');
    this.got.push(...(messages as unknown as CommitMessage[]));
    for (const resolve of this.#waiting.splice(0)) resolve();
  };

  numbersOf = (uid: string): number[] =>
    this.got.filter(({ id }) => id.startsWith(uid)).map(({ data }) => data.eventNo as number);

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}

test('events go out in the order of their numbers for each source, by one of several publishers, as they come', async () => {
  const topic = new Topic();
  const errors: unknown[] = [];
  const loops = [1, 2, 3].map(
    () => new OutboxLoop(rig.registry.outbox, topic, (error) => errors.push(error)),
  );
  for (const loop of loops) loop.start();
  const sources = await Promise.all([1, 2, 3].map(() => newSource(rig.registry)));
  await Promise.all(sources.map(({ id }) => fail(id, 5)));
  await topic.until(() => topic.got.length >= 15);
  await Promise.all(loops.map((loop) => loop.close()));
  for (const { uid } of sources) expect(topic.numbersOf(uid)).toEqual([1, 2, 3, 4, 5]);
  expect(errors).toEqual([]);
  expect(await rig.registry.outbox.pending(10)).toEqual([]);
});

test('what the topic refuses stays in the outbox and goes out later, under the same id and in order', async () => {
  const topic = new Topic();
  topic.refusals = 1;
  const errors: unknown[] = [];
  const loop = new OutboxLoop(rig.registry.outbox, topic, (error) => errors.push(error));
  const { id, uid } = await newSource(rig.registry);
  await fail(id, 3);
  loop.start();
  await topic.until(() => topic.numbersOf(uid).length >= 3);
  await loop.close();
  expect(topic.numbersOf(uid)).toEqual([1, 2, 3]);
  expect(errors).toMatchObject([{ code: 'TM1515' }]);
}, 30_000);

test('one source whose events are refused does not hold up the others', async () => {
  const [bad, good] = [await newSource(rig.registry), await newSource(rig.registry)];
  await fail(bad.id, 1);
  await fail(good.id, 2);
  const topic = new Topic();
  const publish: Transport['publish'] = (name, messages) => {
    if ((messages as unknown as CommitMessage[])[0]!.id.startsWith(bad.uid)) throw new TmError('TM1515');
    return topic.publish(name, messages);
  };
  const loop = new OutboxLoop(rig.registry.outbox, { publish }, () => {});
  loop.start();
  await topic.until(() => topic.numbersOf(good.uid).length === 2);
  await loop.close();
  expect((await rig.registry.outbox.pending(10)).map(({ sourceUid }) => sourceUid)).toEqual([bad.uid]);
});
