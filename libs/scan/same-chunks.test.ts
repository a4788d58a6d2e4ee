import { appendFileSync, mkdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import * as posix from '../posix/index.ts';
import { fstat, Stat } from '../posix/index.ts';
import { type Rig, useRig } from './scan-rig.suite.ts';
import { HEADER_BYTES } from './state-format.ts';
import { StateReader } from './state-reader.ts';

/** Names that were looked at one by one. */
const looked: string[] = vi.hoisted(() => []);

vi.mock('../posix/index.ts', async (load) => {
  const real = await load<typeof posix>();
  const statx: typeof real.statx = (dirfd, name, out, flags) => {
    looked.push(name.toString());
    return real.statx(dirfd, name, out, flags);
  };
  return { ...real, statx };
});

beforeEach(() => {
  looked.length = 0;
});

/** A folder of three chunks and some, beside small ones. */
function wide(): Rig {
  const rig = useRig('/dev/shm');
  mkdirSync(rig.path('d'));
  for (let i = 0; i < 3500; i++) writeFileSync(nameAt(rig, i), '');
  mkdirSync(rig.path('e'));
  mkdirSync(rig.path('d', 'sub'));
  for (const name of ['a', 'b']) writeFileSync(rig.path('e', name), '');
  rig.scan();
  looked.length = 0;
  return rig;
}

const nameAt = (rig: Rig, i: number, more = '') => rig.path('d', `n${String(i).padStart(4, '0')}${more}`);
const chunksOf = ({ statePath }: Rig): Buffer => readFileSync(statePath).subarray(HEADER_BYTES);

function chunkSizes({ statePath }: Rig): number[] {
  const state = StateReader.open(statePath)!;
  const sizes: number[] = [];
  for (; !state.done; state.skipChunk()) sizes.push(state.chunk!.count);
  state.close();
  return sizes;
}

describe('chunks of the state that are as they were', () => {
  it('are copied as they stand, after one look at each of their entries', () => {
    const rig = wide();
    const before = chunksOf(rig);
    expect(rig.scan()).toMatchObject({ work: [], gone: [], totals: { files: 3502, unchanged: 3506 } });
    expect(chunksOf(rig)).toEqual(before);
    expect(looked).toEqual(['d', 'e']); // of the root's chunk, which its own entry begins
  });

  it.each([0, 1023, 1024, 2047, 2048, 3499])('with entry %i changed, gone, or before a new one', (i) => {
    const rig = wide();
    appendFileSync(nameAt(rig, i), 'x');
    const name = `d/n${String(i).padStart(4, '0')}`;
    expect(rig.scan()).toMatchObject({ work: [name], gone: [], totals: { unchanged: 3505, bytes: 1 } });
    unlinkSync(nameAt(rig, i));
    expect(rig.scan()).toMatchObject({ work: ['d'], gone: [name], totals: { unchanged: 3504 } });
    writeFileSync(nameAt(rig, i), '');
    writeFileSync(nameAt(rig, i, '+'), '');
    expect(rig.scan()).toMatchObject({
      work: ['d', name, `${name}+`],
      gone: [],
      totals: { unchanged: 3504 },
    });
    rig.expectBackupIsTree();
    expect(rig.scan()).toMatchObject({ work: [], gone: [], totals: { unchanged: 3507 } });
  });

  it('do not become small by names that come', () => {
    const rig = wide();
    for (let i = 0; i < 10; i++) {
      writeFileSync(nameAt(rig, 5, `+${i}`), '');
      rig.scan();
    }
    expect(chunkSizes(rig)).toEqual([3, 1024, 1024, 1024, 439, 2]);
  });

  it('are left to a look at each entry where one of them is to be read again', () => {
    const rig = wide();
    const has = (_dir: Buffer, name: Buffer) => name.equals(Buffer.from('b'));
    expect(rig.scan({ reread: { has } })).toMatchObject({ work: ['e/b'], gone: [] });
  });

  it('are left to a look at each entry where a folder in them is to be skipped', () => {
    const rig = wide();
    const stat = new Stat();
    const fd = posix.open(rig.path('d', 'sub'), posix.O_RDONLY);
    posix.check(fstat(fd, stat), 'statx');
    posix.close(fd);
    const { devMajor, devMinor, ino } = stat;
    const found = rig.scan({ skip: [{ devMajor, devMinor, ino }] });
    expect(found).toMatchObject({ work: [], gone: ['d/sub'] });
  });
});
