import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { z } from 'zod';
import { generateIdentity, recipientOf } from '../blocks/keys.ts';
import { COMMON, KAFKA, listenOf, REGISTRY, readConfig, STORE } from './config.ts';
import { RECIPIENTS } from './config-control.ts';

const folder = mkdtempSync(join(tmpdir(), 'tidemark-config-'));
afterAll(() => rmSync(folder, { recursive: true }));

const ALL = { ...COMMON, ...REGISTRY, ...STORE, ...KAFKA };
const GIVEN = {
  TIDEMARK_REGISTRY_URL: 'postgres://u:secret@h/d',
  TIDEMARK_STORE: 'gs://bucket/prefix',
  TIDEMARK_KAFKA_BROKERS: 'a:9092, b:9092',
};
const problemsOf = (shape: z.ZodRawShape, env: NodeJS.ProcessEnv): string => {
  try {
    readConfig(shape, env);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('it was taken');
};
const messageOf = (env: NodeJS.ProcessEnv): string => problemsOf(ALL, env);

test('values come typed, with defaults; an empty variable is none', () => {
  expect(readConfig(ALL, { ...GIVEN, LOG_LEVEL: '', PATH: '/bin' })).toMatchObject({
    TIDEMARK_LISTEN: '0.0.0.0:8080',
    LOG_LEVEL: 'info',
    TIDEMARK_KAFKA_BROKERS: ['a:9092', 'b:9092'],
    TIDEMARK_KAFKA_TLS: false,
  });
});

test('everything that is wrong is said at once, with names and never with values', () => {
  const text = messageOf({
    TIDEMARK_REGISTRY_URL: 'mysql://u:swordfish@h/d',
    TIDEMARK_KAFKA_BROKERS: 'a',
    LOG_LEVEL: 'loud',
    TIDEMARK_STROE: 'file:///x',
  });
  for (const name of ['REGISTRY_URL', 'STORE', 'KAFKA_BROKERS', 'LOG_LEVEL', 'STROE'])
    expect(text).toContain(name);
  expect(text).toMatch(/^an option or environment variable/);
  expect(text).not.toContain('swordfish');
});

test('a secret may come from a file; not from both, and not from one that cannot be read', () => {
  const file = join(folder, 'url');
  writeFileSync(file, `${GIVEN.TIDEMARK_REGISTRY_URL}\n`);
  const { TIDEMARK_REGISTRY_URL: url, ...rest } = GIVEN;
  expect(readConfig(ALL, { ...rest, TIDEMARK_REGISTRY_URL_FILE: file }).TIDEMARK_REGISTRY_URL).toBe(url);
  expect(messageOf({ ...GIVEN, TIDEMARK_REGISTRY_URL_FILE: file })).toContain('TIDEMARK_REGISTRY_URL_FILE');
  expect(messageOf({ ...rest, TIDEMARK_REGISTRY_URL_FILE: join(folder, 'none') })).toContain('ENOENT');
});

test('addresses are split at their last colon', () => {
  expect(listenOf('127.0.0.1:80')).toEqual({ host: '127.0.0.1', port: 80 });
  expect(listenOf('[::1]:8080')).toEqual({ host: '::1', port: 8080 });
});

test('what does not go together or cannot be used is said with the rest, before anything is connected to', () => {
  const damaged = join(folder, 'damaged.pem');
  writeFileSync(damaged, '-----BEGIN CERTIFICATE-----');
  const wrong = {
    TIDEMARK_LISTEN: '0.0.0.0:70000',
    TIDEMARK_KAFKA_USERNAME: 'me',
    TIDEMARK_KAFKA_CA: join(folder, 'none'),
  };
  const text = problemsOf(ALL, wrong);
  for (const name of ['REGISTRY_URL', 'LISTEN', 'KAFKA_MECHANISM', 'KAFKA_PASSWORD', 'KAFKA_CA'])
    expect(text).toContain(`TIDEMARK_${name}: `);
  expect(text).toContain('ENOENT');
  expect(problemsOf(KAFKA, { TIDEMARK_KAFKA_BROKERS: 'a:1', TIDEMARK_KAFKA_CA: damaged })).toContain('PEM');
});

test('a recipient with one wrong character is refused at the start, not when the first key is wrapped to it', async () => {
  const good = await recipientOf(await generateIdentity());
  const last = good.at(-1) === 'q' ? 'p' : 'q';
  const shape = { TIDEMARK_RECIPIENTS: RECIPIENTS };
  expect(readConfig(shape, { TIDEMARK_RECIPIENTS: good })).toEqual({ TIDEMARK_RECIPIENTS: [good] });
  expect(problemsOf(shape, { TIDEMARK_RECIPIENTS: good.slice(0, -1) + last })).toContain('expected age1');
});
