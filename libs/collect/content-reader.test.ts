import { randomBytes } from 'node:crypto';
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Chunker } from '../blocks/chunker.ts';
import { FrameSealer } from '../blocks/frame.ts';
import { KeyedHasher } from '../model/digests.ts';
import { PosixError } from '../posix/index.ts';
import { BlockBatch } from './block-batch.ts';
import { ContentReader } from './content-reader.ts';

const KEY = Buffer.alloc(32, 3);
let dir: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'tidemark-content-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** `onAsk` runs in the middle of a file that is larger than the reader's memory. */
function reader(onAsk: () => void = () => {}): ContentReader {
  const sealer = new FrameSealer({
    domainId: '00112233-4455-6677-8899-aabbccddeeff',
    keyId: Buffer.alloc(16, 1),
    key: KEY,
    firstFrameNo: 0,
    endFrameNo: 1000,
  });
  const sink = {
    missing: async (ids: Buffer) => {
      onAsk();
      return new Uint8Array(ids.length / 32);
    },
    frames: async () => {},
  };
  const batch = new BlockBatch(sink, sealer, new KeyedHasher(KEY));
  return new ContentReader(new Chunker(KEY), batch, new KeyedHasher(KEY));
}

test('a file that fails in the middle leaves nothing in the next one', async () => {
  const [large, small] = [join(dir, 'large'), join(dir, 'small')];
  writeFileSync(large, randomBytes(30 << 20));
  writeFileSync(small, randomBytes(3 << 20));
  const largeFd = openSync(large, 'r');
  const smallFd = openSync(small, 'r');
  let asked = 0;
  const failing = reader(() => {
    if (asked++ === 0) closeSync(largeFd);
  });
  await expect(failing.read(largeFd, 30 << 20, false)).rejects.toThrow(PosixError);
  const after = await failing.read(smallFd, 3 << 20, false);
  expect(after).toEqual(await reader().read(smallFd, 3 << 20, false));
  closeSync(smallFd);
});

test('a file that is cut and one that is taken whole give the same, up to the size of one block', async () => {
  const path = join(dir, 'whole');
  for (const size of [0, 1, 4096, 256 * 1024, 256 * 1024 + 1]) {
    writeFileSync(path, randomBytes(size));
    const fd = openSync(path, 'r');
    const whole = await reader().read(fd, size, false);
    expect(whole).toEqual(await reader().read(fd, size, true)); // by its extents: never whole
    expect(whole.size).toBe(size);
    truncateSync(path, size >> 1);
    expect((await reader().read(fd, size, false)).size).toBe(size >> 1);
    closeSync(fd);
  }
  writeFileSync(path, Buffer.alloc(5000));
  const fd = openSync(path, 'r');
  expect((await reader().read(fd, 5000, false)).recipe.items).toEqual([{ kind: 'zeros', length: 5000 }]);
  closeSync(fd);
});

test('small files are read at once while there is room', () => {
  writeFileSync(join(dir, 'tiny'), 'tiny');
  const fd = openSync(join(dir, 'tiny'), 'r');
  expect(reader().read(fd, 4, false)).not.toBeInstanceOf(Promise);
  closeSync(fd);
});

test('a sparse file that shrinks while it is read ends where a read came up short', async () => {
  const [data, grown] = [30 << 20, 64 << 20];
  const fd = openSync(join(dir, 'sparse'), 'w+');
  const bytes = randomBytes(1 << 20);
  for (let at = 0; at < data; at += bytes.length) writeSync(fd, bytes, 0, bytes.length, at);
  writeSync(fd, bytes, 0, bytes.length, grown - bytes.length);
  const shrinking = reader(() => ftruncateSync(fd, 1 << 20));
  const { recipe, size } = await shrinking.read(fd, grown, true);
  closeSync(fd);
  const stream = recipe.items.reduce((sum, { length }) => sum + length, 0);
  const holes = recipe.holes.kind === 'inline' ? recipe.holes.holes : [];
  expect(size).toBeLessThan(data);
  expect(stream + holes.reduce((sum, { length }) => sum + length, 0)).toBe(size);
});
