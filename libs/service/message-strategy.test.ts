import 'reflect-metadata';
import { Controller, Module, UseFilters } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventPattern } from '@nestjs/microservices';
import { expect, test } from 'vitest';
import type { ChangeMessage } from '../contracts/messages.ts';
import { TmError } from '../model/errors.ts';
import { InProcessTransport } from '../transport/in-process.ts';
import { MessageStrategy } from './message-strategy.ts';
import { PassOnFilter } from './pass-on.filter.ts';

const got: number[][] = [];
const failures: Error[] = [];

@Controller()
@UseFilters(PassOnFilter)
class Recorder {
  @EventPattern<string>('change-events')
  async handle(messages: readonly ChangeMessage[]): Promise<void> {
    const failure = failures.shift();
    if (failure) throw failure;
    got.push(messages.map(({ header }) => header.batchNo));
  }
}

@Module({ controllers: [Recorder] })
class App {}

const message = (batchNo: number) => ({ header: { batchNo } }) as unknown as ChangeMessage;

async function start(onPoison: (error: unknown) => void) {
  got.length = 0;
  const transport = new InProcessTransport({
    batch: 4,
    backoff: async () => {},
    onPoison: async (_topic, _message, error) => onPoison(error),
  });
  const app = await NestFactory.createMicroservice(App, {
    strategy: new MessageStrategy(transport),
    logger: false,
  });
  await app.listen();
  return { app, transport };
}

const until = async (condition: () => boolean) => {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
};

test('a handler gets batches, and an error that may be retried brings the same ones again', async () => {
  const { app, transport } = await start(() => {});
  failures.push(new TmError('TM1301', 'once'));
  await transport.publish('change-events', [1, 2, 3].map(message));
  await until(() => got.flat().length === 3);
  expect(got.flat()).toEqual([1, 2, 3]);
  await app.close();
});

test('an error keeps its code on its way through Nest, and is never taken for success', async () => {
  const poison: unknown[] = [];
  const { app, transport } = await start((error) => poison.push(error));
  const failure = new TmError('TM1505', 'of the test');
  failures.push(failure);
  await transport.publish('change-events', [message(7)]);
  await until(() => poison.length === 1);
  expect(poison).toEqual([failure]);
  expect(got).toEqual([]);
  await app.close();
});

test('closing waits for the handler that runs', async () => {
  const { app, transport } = await start(() => {});
  await transport.publish('change-events', [message(1)]);
  await app.close();
  await expect(transport.publish('change-events', [message(2)])).rejects.toMatchObject({ code: 'TM1508' });
});
