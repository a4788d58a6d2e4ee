import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore } from './open-store.ts';

const code = (expected: string) => expect.objectContaining({ code: expected });

describe('openStore', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-store-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('opens a folder whose name needs escapes', async () => {
    const url = pathToFileURL(join(folder, 'a b#c?d%e ü')).href;
    await expect(openStore(url, { create: false })).rejects.toEqual(code('TM1202'));
    const store = await openStore(url, { create: true });
    expect(store.url).toBe(url);
    expect((await openStore(`${url}/`, { create: false })).url).toBe(url);
  });

  it('refuses URLs that name no place', async () => {
    const bad = [
      '',
      'x',
      '/abs',
      './rel',
      'file:',
      'file://',
      'file:///',
      'file:rel',
      'file://host/dir',
      's3://b',
    ];
    for (const url of [
      ...bad,
      'file:///a?b',
      'file:///a#b',
      'file:///a%2Fb',
      'file:///a%00',
      'file:///%ff',
    ]) {
      await expect(openStore(url, { create: true }), url).rejects.toEqual(code('TM1002'));
    }
    await expect(openStore('gs://Bucket/prefix', { create: true })).rejects.toEqual(code('TM1002'));
  });

  it('opens a place in a bucket without asking it', async () => {
    const store = await openStore('gs://bucket/prefix/', {
      create: false,
      gcsEndpoint: 'http://127.0.0.1:1',
    });
    expect(store.url).toBe('gs://bucket/prefix');
    await store.close();
  });
});
