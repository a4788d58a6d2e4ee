import {
  appendFileSync,
  existsSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteWriter } from '../model/byte-writer.ts';
import { blake3, DigestSum } from '../model/digests.ts';
import { EntryType, encodeState, HINTS_BYTES } from '../model/entry.ts';
import { joinPath, ROOT } from '../model/tree-path.ts';
import { b, readState, useRig } from './scan-rig.suite.ts';
import { STAT_WORDS } from './stat-record.ts';
import { openState } from './state-file.ts';
import { StateFlag, type StateIdentity } from './state-format.ts';
import { StateReader } from './state-reader.ts';
import { rebuildState } from './state-rebuild.ts';
import { StateWriter } from './state-writer.ts';

const NO_HINTS = Buffer.alloc(HINTS_BYTES);
const hashOf = (n: number): Buffer => blake3(b(String(n)));
const stat = Int32Array.from({ length: STAT_WORDS }, (_, i) => i * 0x0101_0101);

function identityOf(hashes: Buffer[]): StateIdentity {
  const sum = new DigestSum();
  for (const hash of hashes) sum.add(hash);
  return { sourceUid: 'uid', seq: 7, epoch: { generation: 2, counter: 3 }, stateDigest: sum.bytes() };
}

/** A state of a root, `names` names in it, and a directory with one name. */
function write(path: string, names: number): StateIdentity {
  const writer = new StateWriter(path, 42n);
  const hashes: Buffer[] = [];
  const add = (name: string) => {
    const hash = hashOf(hashes.length);
    hashes.push(hash);
    writer.append(b(name), stat, 0, 0, hash);
  };
  writer.enter(ROOT);
  add('');
  for (let i = 0; i < names; i++) add(`name${String(i).padStart(7, '0')}`);
  writer.enter(b('name0000000'));
  add('below');
  const identity = identityOf(hashes);
  writer.finish(identity);
  writer.commit();
  return identity;
}

describe('a state file', () => {
  it('gives back what was written', () => {
    const { statePath } = useRig();
    const identity = write(statePath, 2);
    const state = openState(statePath, identity)!;
    expect(state.header).toMatchObject({
      ...identity,
      entries: 4,
      startedAt: 42n,
      fileBytes: statSync(statePath).size,
    });
    const paths = ['.', 'name0000000', 'name0000001', 'name0000000/below'];
    expect(readState(state)).toEqual(paths.map((path, i) => [path, hashOf(i).toString('hex')]));
    expect(state.words.subarray(state.statAt, state.statAt + STAT_WORDS)).toEqual(stat);
    state.close();
  });

  it('has the bytes of version 1', () => {
    const { statePath } = useRig();
    write(statePath, 1);
    const bytes = readFileSync(statePath);
    expect(bytes.length).toBe(512 + 288 + 176);
    expect(bytes.subarray(0, 20).toString('hex')).toBe('544d535441544531' + '01000000' + 'd003000000000000');
    expect(blake3(bytes).toString('hex')).toBe(
      'cacaceb259f7515ee5f8816fb10d79dc167a0d830ebe5d34055454abbde2889b',
    );
  });

  it('any bit that flips makes it no state', () => {
    const { statePath } = useRig();
    const identity = write(statePath, 20);
    const whole = readFileSync(statePath);
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.nat(7), (at, bit) => {
        const bytes = Buffer.from(whole);
        bytes[at]! ^= 1 << bit;
        writeFileSync(statePath, bytes);
        expect(openState(statePath, identity)).toBeUndefined();
      }),
      { numRuns: 400 },
    );
    writeFileSync(statePath, whole);
    openState(statePath, identity)!.close();
  });

  it('one that was cut off, or has grown, is no state', () => {
    const { statePath } = useRig();
    const identity = write(statePath, 3000);
    const { size } = statSync(statePath);
    appendFileSync(statePath, 'x');
    expect(openState(statePath, identity)).toBeUndefined();
    for (const length of [size - 1, size - 200, 140_000, 512, 511, 0]) {
      truncateSync(statePath, length);
      expect(openState(statePath, identity)).toBeUndefined();
    }
  });

  it('one whose end was lost in a crash, the header being there, is no state', () => {
    const { statePath } = useRig();
    const identity = write(statePath, 3000);
    const bytes = readFileSync(statePath);
    writeFileSync(statePath, bytes.fill(0, bytes.length - 4096));
    expect(openState(statePath, identity)).toBeUndefined();
  });

  it('one that was never finished is no state', () => {
    const { statePath } = useRig();
    const writer = new StateWriter(statePath, 0n);
    writer.append(ROOT, stat, 0, 0, hashOf(0));
    expect(StateReader.open(`${statePath}.new`)).toBeUndefined();
    writer.abandon();
    expect(existsSync(`${statePath}.new`)).toBe(false);
  });

  it('one of another backup, epoch, source or tree is no state', () => {
    const { statePath } = useRig();
    const identity = write(statePath, 1);
    const others = [
      { sourceUid: 'other' },
      { seq: 8 },
      { epoch: { generation: 3, counter: 3 } },
      { epoch: { generation: 2, counter: 4 } },
      { stateDigest: hashOf(1) },
    ];
    for (const other of others) expect(openState(statePath, { ...identity, ...other })).toBeUndefined();
  });

  it('one whose writer died between the commit of its backup and its own is found', () => {
    const { statePath } = useRig();
    const old = write(statePath, 1);
    const identity = write(`${statePath}2`, 2);
    renameSync(`${statePath}2`, `${statePath}.new`);
    openState(statePath, old)!.close();
    openState(statePath, identity)!.close();
    expect(existsSync(`${statePath}.new`)).toBe(false);
    openState(statePath, identity)!.close();
  });

  it('is refused out of order', () => {
    const { statePath } = useRig();
    const writer = new StateWriter(statePath, 0n);
    writer.enter(b('b'));
    expect(() => writer.enter(b('a'))).toThrow(expect.objectContaining({ code: 'TM1099' }));
    writer.abandon();
  });
});

describe('patches', () => {
  it('take effect in the chunk, in memory and in the file', () => {
    const { statePath } = useRig();
    const writer = new StateWriter(statePath, 0n);
    const handles: number[] = [];
    const count = 60_000;
    for (let i = 0; i < count; i++) {
      handles.push(writer.append(b(`name${String(i).padStart(7, '0')}`), stat, 0, StateFlag.untrusted));
      if (i >= 50_000) patch(i - 50_000);
    }
    function patch(i: number): void {
      writer.patch(handles[i]!, { hash: hashOf(i), trusted: i % 2 === 0 });
    }
    for (let i = 10_000; i < count; i++) patch(i);
    for (const i of [1, 55_000, count - 1]) expect(writer.hashOf(handles[i]!)).toEqual(hashOf(i));
    for (const i of [2, 55_002, count - 2]) writer.void(handles[i]!);
    for (const i of [4, 55_004, count - 4]) writer.distrust(handles[i]!);
    const voided = new Set([2, 55_002, count - 2]);
    const distrusted = new Set([4, 55_004, count - 4]);
    const left = handles.map((_, i) => i).filter((i) => !voided.has(i));
    const identity = identityOf(left.map(hashOf));
    writer.finish(identity);
    writer.commit();
    const state = openState(statePath, identity)!;
    for (const i of left) {
      const flags = i % 2 === 1 || distrusted.has(i) ? StateFlag.untrusted : 0;
      if (state.flags !== flags || !state.hash.equals(hashOf(i))) expect.unreachable(`entry ${i}`);
      state.advance();
    }
    expect(state.done).toBe(true);
    state.close();
  });

  it('leave what the walk found out', () => {
    const { statePath } = useRig();
    const writer = new StateWriter(statePath, 0n);
    const flags = StateFlag.racy | StateFlag.mountpoint;
    const handle = writer.append(ROOT, stat, 0, flags | StateFlag.untrusted);
    writer.patch(handle, { hash: hashOf(1), trusted: true });
    const identity = identityOf([hashOf(1)]);
    writer.finish(identity);
    writer.commit();
    const state = openState(statePath, identity)!;
    expect(state.flags).toBe(flags);
    state.close();
  });
});

describe('a state that is rebuilt from the registry', () => {
  const time = { mtimeSec: 0n, mtimeNsec: 0, uid: 0, gid: 0, user: '', group: '', linkGroup: 0n };
  const rest = {
    rdevMajor: 0,
    rdevMinor: 0,
    target: ROOT,
    xattrs: [],
    digest: undefined,
    recipe: undefined,
    flags: 0,
  };
  function encode(): Buffer {
    const out = new ByteWriter();
    encodeState({ ...time, ...rest, type: EntryType.directory, mode: 0o755, size: 0 }, out);
    return out.finish();
  }

  it('tells what is gone, and has everything read again', async () => {
    const rig = useRig();
    const entries = [
      { dir: ROOT, name: ROOT },
      { dir: ROOT, name: b('a') },
      { dir: b('a'), name: b('b') },
      { dir: joinPath(b('a'), b('b')), name: b('c') },
    ].map((key, i) => ({ ...key, hash: hashOf(i), state: encode(), hints: NO_HINTS }));
    const identity = identityOf(entries.map(({ hash }) => hash));
    async function* pages() {
      yield entries.slice(0, 2);
      yield entries.slice(2);
    }
    const state = (await rebuildState(rig.statePath, identity, pages()))!;
    expect(readState(state).map(([path]) => path)).toEqual(['.', 'a', 'a/b', 'a/b/c']);
    state.close();
    rig.identity = identity;
    for (const { dir, name, hash } of entries) rig.know(dir, name, hash);
    expect(rig.scan()).toMatchObject({ work: ['.'], gone: ['a', 'a/b', 'a/b/c'] });
  });

  it('is none when the hashes are not those of the base', async () => {
    const { statePath } = useRig();
    async function* pages() {
      yield [{ dir: ROOT, name: ROOT, hash: hashOf(0), state: encode(), hints: NO_HINTS }];
    }
    expect(await rebuildState(statePath, identityOf([hashOf(1)]), pages())).toBeUndefined();
  });
});
