import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { committedBackup } from './follow.ts';
import { kafkaMissing } from './kafka.ts';
import { Stack } from './stack.ts';

const missing = kafkaMissing();

let stack: Stack;

beforeAll(async () => {
  if (missing === undefined) stack = await Stack.start();
}, 180_000);
beforeEach((context) => {
  if (missing !== undefined) context.skip(missing);
});
afterAll(() => stack?.close());

test('an agent backs its folder up by itself, over Kafka', async () => {
  const dir = join(stack.base, 'data');
  mkdirSync(dir);
  writeFileSync(join(dir, 'a'), 'hello');
  await stack.addAgent('one', { TIDEMARK_SOURCES: dir });
  const backup = await committedBackup(stack);
  expect(backup).toMatchObject({ kind: 'full', state: 'committed', counts: { files: 1, bytes: 5 } });
});

test('every service stops in order within ten seconds', async () => {
  const codes = await Promise.all(stack.services.map((service) => service.stop()));
  expect(codes).toEqual(stack.services.map(() => 0));
}, 30_000);
