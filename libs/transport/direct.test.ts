import { expect, test } from 'vitest';
import type { ChangeMessage } from '../contracts/messages.ts';
import { TmError } from '../model/errors.ts';
import { DirectTransport } from './direct.ts';
import { transportSuite } from './transport.suite.ts';

const fast = { backoff: async () => {}, patienceMs: 20 };

transportSuite('direct', async (options) => new DirectTransport({ ...fast, ...options }), {
  backPressure: 'it holds no messages: publish waits for the handler itself',
  redelivery: 'what was not handled was not accepted: its publisher has it still',
  pause: 'a message that waits to come again is its publisher’s',
});

const of = (backupId: string) => ({ header: { backupId } }) as unknown as ChangeMessage;
const idOf = (one: ChangeMessage) => one.header.backupId;
const none = async () => {};

test('what is accepted has been handled, and one backup that stands still holds up no other', async () => {
  const gate = Promise.withResolvers<void>();
  const handled: string[] = [];
  const transport = new DirectTransport({ onPoison: none });
  transport.subscribe('change-events', async ([one]) => {
    if (idOf(one!) === 'slow') await gate.promise;
    handled.push(idOf(one!));
  });
  const slow = transport.publish('change-events', [of('slow')]);
  const behind = transport.publish('change-events', [of('slow')]);
  await transport.publish('change-events', [of('a'), of('b')]);
  expect(handled).toEqual(['a', 'b']);
  gate.resolve();
  await Promise.all([slow, behind]);
  expect(handled).toEqual(['a', 'b', 'slow', 'slow']);
  await transport.close();
});

test('what fails for now is not accepted: its publisher is told why, and comes again', async () => {
  const gate = Promise.withResolvers<void>();
  const transport = new DirectTransport({ patienceMs: 1, backoff: () => gate.promise, onPoison: none });
  let isAway = true;
  let count = 0;
  transport.subscribe('change-events', async () => {
    if (isAway) throw new TmError('TM1301', 'of the test');
    count++;
  });
  await expect(transport.publish('change-events', [of('a')])).rejects.toMatchObject({ code: 'TM1301' });
  isAway = false;
  gate.resolve();
  await transport.publish('change-events', [of('a')]);
  expect(count).toBe(2);
  await transport.close();
});

test('closing ends tries, and never poisons what may succeed elsewhere', async () => {
  const poisoned: unknown[] = [];
  const gate = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const backoff = () => {
    begun.resolve();
    return gate.promise;
  };
  const onPoison = async (_topic: string, message: unknown) => void poisoned.push(message);
  const transport = new DirectTransport({ backoff, onPoison });
  transport.subscribe('change-events', () => Promise.reject(new TmError('TM1301', 'of the test')));
  const published = transport.publish('change-events', [of('a')]);
  const refused = expect(published).rejects.toMatchObject({ code: 'TM1508' });
  await begun.promise;
  const closing = transport.close();
  gate.resolve();
  await Promise.all([closing, refused]);
  expect(poisoned).toEqual([]);
});
