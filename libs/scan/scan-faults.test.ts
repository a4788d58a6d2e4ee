import { appendFileSync, mkdirSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { expect, it, vi } from 'vitest';
import { TmError } from '../model/errors.ts';
import * as posix from '../posix/index.ts';
import { b, now, openBelow, type Rig, useRig } from './scan-rig.suite.ts';

/** What happens to system calls in the directory that holds a name `marker`. */
const fault = vi.hoisted(() => ({
  onName: (_name: Buffer): 'pass' | 'hide' | 'break' => 'pass',
  onStat: (_name: Buffer): number => 0,
}));

vi.mock('../posix/index.ts', async (load) => {
  const real = await load<typeof posix>();
  class DirReader extends real.DirReader {
    override next(): boolean {
      while (super.next()) {
        const action = fault.onName(this.name);
        if (action === 'break') throw new real.PosixError(real.EIO, 'getdents64');
        if (action === 'pass') return true;
      }
      return false;
    }
  }
  const statx: typeof real.statx = (dirfd, name, out, flags) =>
    fault.onStat(name) || real.statx(dirfd, name, out, flags);
  const statxAt: typeof real.statxAt = (dirfd, names, at, out) =>
    fault.onStat(names.bytes.subarray(at, names.bytes.indexOf(0, at))) || real.statxAt(dirfd, names, at, out);
  return { ...real, DirReader, statx, statxAt };
});

function withFault<T>(change: Partial<typeof fault>, work: () => T): T {
  const before = { ...fault };
  Object.assign(fault, change);
  try {
    return work();
  } finally {
    Object.assign(fault, before);
  }
}

function scanned(): Rig {
  const rig = useRig();
  mkdirSync(rig.path('d', 'sub'), { recursive: true });
  for (const name of ['a', 'b', 'c', 'sub/x']) writeFileSync(rig.path('d', name), '');
  writeFileSync(rig.path('e'), '');
  rig.scan();
  return rig;
}

const breakAt = (name: string) => ({
  onName: (at: Buffer) => (at.equals(b(name)) ? ('break' as const) : 'pass'),
});

it('a listing that breaks off deletes nothing', () => {
  const rig = scanned();
  const before = new Map(rig.backup);
  const found = withFault(breakAt('b'), () => rig.scan());
  expect(found).toMatchObject({ work: [], gone: [], kept: ['1110 d'] });
  expect(rig.backup).toEqual(before);
  unlinkSync(rig.path('d', 'b'));
  expect(rig.scan()).toMatchObject({ work: ['d'], gone: ['d/b'] });
  rig.expectBackupIsTree();
});

it('a listing that breaks off in a directory that is work already deletes nothing', () => {
  const rig = scanned();
  writeFileSync(rig.path('d', 'new'), '');
  const found = withFault(breakAt('b'), () => rig.scan());
  expect(found).toMatchObject({ work: ['d'], gone: [], kept: [], notes: ['1110 d'] });
  expect(rig.scan()).toMatchObject({ work: ['d/new'], gone: [] });
  rig.expectBackupIsTree();
});

it('a listing that misses a name deletes nothing, and still sees that it changed', () => {
  const rig = scanned();
  appendFileSync(rig.path('d', 'c'), 'more');
  const hide = (name: Buffer) => (['b', 'c', 'sub'].includes(name.toString()) ? 'hide' : 'pass');
  const found = withFault({ onName: hide }, () => rig.scan());
  expect(found).toMatchObject({ work: ['d/c'], gone: [], kept: [] });
  rig.expectBackupIsTree();
});

it('a root whose listing breaks off is an error, not a backup', () => {
  const rig = scanned();
  expect(() => withFault(breakAt('e'), () => rig.scan())).toThrow(
    expect.objectContaining({ code: 'TM1102' }),
  );
});

it('an entry whose stat fails keeps its last version', () => {
  const rig = scanned();
  const before = new Map(rig.backup);
  const onStat = (name: Buffer) => (['a', 'sub'].includes(name.toString()) ? -posix.EIO : 0);
  const found = withFault({ onStat }, () => rig.scan());
  expect(found).toMatchObject({ work: [], gone: [], kept: ['1110 d/a', '1110 d/sub'] });
  expect(rig.backup).toEqual(before);
  expect(found.totals).toMatchObject({ files: 5, directories: 3 });
  expect(rig.scan().work).toEqual(['d/a', 'd/sub']);
});

it('a process without descriptors or memory does not take the source for unreadable', () => {
  const rig = scanned();
  const onStat = (name: Buffer) => (name.equals(b('a')) ? -posix.ENOMEM : 0);
  expect(() => withFault({ onStat }, () => rig.scan())).toThrow(TmError);
  expect(openBelow(rig.tree)).toEqual([rig.tree]);
  expect(rig.scan().work).toEqual([]);
});

it('a full that could not read some entries still counts its digest from zero', () => {
  const rig = scanned();
  writeFileSync(rig.path('d', 'new'), '');
  const onStat = (name: Buffer) => (['a', 'sub'].includes(name.toString()) ? -posix.EIO : 0);
  const found = withFault({ onStat }, () => rig.scan({ readAll: true }));
  expect(found).toMatchObject({ gone: [], kept: ['1110 d/a', '1110 d/sub'] });
  expect(rig.backup.has(`${b('d').toString('hex')}/${b('a').toString('hex')}`)).toBe(true);
  expect(withFault(breakAt('b'), () => rig.scan({ readAll: true })).notes).toEqual(['1110 d']);
});

it('a folder that is moved ahead of the walk again and again does not keep it from ending', () => {
  const rig = useRig();
  const places = Array.from({ length: 50 }, (_, i) => `p${100 + i}`);
  for (const place of places) mkdirSync(rig.path(place));
  let at = rig.path(places[0]!, 'd');
  mkdirSync(rig.path(places[0]!, 'd', 'below'), { recursive: true });
  writeFileSync(rig.path(places[0]!, 'd', 'below', 'f'), '');
  const onStat = (name: Buffer): number => {
    if (!name.equals(b('f'))) return 0;
    const next = places[places.indexOf(at.split('/').at(-2)!) + 1];
    const before = at;
    if (next) at = rig.path(next, 'd');
    if (next) renameSync(before, at);
    return 0;
  };
  const found = withFault({ onStat }, () => rig.scan({ startedAt: now() }));
  const read = found.work.filter((path) => path.endsWith('/f'));
  expect(read.length).toBeLessThanOrEqual(5);
  expect(found.notes).toEqual([`1110 ${places[read.length]}/d`]);
  const last = `${at.slice(rig.tree.length + 1)}/below/f`;
  expect(rig.scan().work.filter((path) => path.endsWith('/f'))).toEqual([last]);
});
