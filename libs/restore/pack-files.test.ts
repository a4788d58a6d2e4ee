import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import * as posix from '../posix/index.ts';
import { PackFiles } from './pack-files.ts';

const folder = mkdtempSync(join(tmpdir(), 'tidemark-packs-'));
afterAll(() => rmSync(folder, { recursive: true }));

const MIB = 1024 * 1024;
const content = Buffer.from(Array.from({ length: 3 * MIB }, (_, i) => i % 251));
writeFileSync(join(folder, 'whole'), content);
posix.check(
  posix.mknodat(posix.AT_FDCWD, Buffer.from(join(folder, 'fifo')), posix.S_IFIFO | 0o600, 0, 0),
  'mknodat',
);

const pack = Buffer.alloc(32, 1);
const at = (name: string) => new PackFiles(async () => Buffer.from(name && join(folder, name)));

test('ranges are read, counted, and read into the same memory once it was given back', async () => {
  const files = at('whole');
  const first = await files.read(pack, 5, MIB);
  expect(first?.equals(content.subarray(5, 5 + MIB))).toBe(true);
  const second = await files.read(pack, MIB, 2 * MIB);
  expect(second?.equals(content.subarray(MIB))).toBe(true);
  expect(first?.equals(content.subarray(5, 5 + MIB))).toBe(true);
  files.release(first!);
  const third = await files.read(pack, 77, MIB);
  expect(third?.buffer).toBe(first?.buffer);
  expect(third?.equals(content.subarray(77, 77 + MIB))).toBe(true);
  expect(files.takeCount()).toBe(4 * MIB);
  expect(files.takeCount()).toBe(0);
});

test('small reads have memory of their own, which is gone once it was given back', async () => {
  const files = at('whole');
  const small = await files.read(pack, 0, 100);
  expect(small).toEqual(content.subarray(0, 100));
  files.release(small!);
  expect(small?.length).toBe(0);
});

test('a file that is missing, too short or none is left to who holds the store', async () => {
  for (const name of ['', 'missing', 'fifo', '.']) expect(await at(name).read(pack, 0, 10)).toBeUndefined();
  const files = at('whole');
  expect(await files.read(pack, 2 * MIB, 2 * MIB)).toBeUndefined();
  expect(files.takeCount()).toBe(0);
});

test('who can not be asked for a path is asked again the next time', async () => {
  let asked = 0;
  const files = new PackFiles(async () => {
    if (++asked === 1) throw new Error('once');
    return Buffer.from(join(folder, 'whole'));
  });
  await expect(files.read(pack, 0, 10)).rejects.toThrow('once');
  expect(await files.read(pack, 0, 10)).toEqual(content.subarray(0, 10));
  await files.read(pack, 0, 10);
  expect(asked).toBe(2);
});
