import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, rmdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { fromSlashes } from '../model/tree-path.ts';
import { ExcludeRules } from './excludes.ts';
import { isRoot, Rig, useRig } from './scan-rig.suite.ts';

const mountable = isRoot && canMount();

describe('mounts', () => {
  beforeEach((context) => {
    if (!mountable) context.skip('needs root and the right to mount');
  });

  it('below a mount point that is no longer one everything stays as it was', () => {
    const { rig, mountPoint } = mounted();
    rig.scan();
    const before = new Map(rig.backup);
    execFileSync('/bin/umount', [mountPoint]);
    for (let i = 0; i < 2; i++) {
      expect(rig.scan()).toMatchObject({ work: [], gone: [], kept: ['1113 m'] });
      expect(rig.backup).toEqual(before);
    }
    expect(rig.scan({ readAll: true })).toMatchObject({ gone: [], kept: ['1113 m'] });
    expect(rig.backup).toEqual(before);
    rmdirSync(mountPoint);
    expect(rig.scan()).toMatchObject({ work: ['.'], gone: [], kept: ['1113 m'] });
    symlinkSync('/nowhere', mountPoint);
    expect(rig.scan()).toMatchObject({ gone: [], kept: ['1113 m'] });
    expect(rig.scan({ excludes: new ExcludeRules(['/m']) }).gone).toEqual([
      'm',
      'm/inside',
      'm/sub',
      'm/sub/file',
    ]);
  });

  it('dirty paths on the way over mount points that come and go are taken as a whole scan takes them', () => {
    const { rig, mountPoint } = mounted();
    rig.scan();
    const before = new Map(rig.backup);
    const dirty = (...paths: string[]) => ({
      entries: paths.map((path) => ({ path: fromSlashes(path) })),
      subtrees: [],
      unsettled: [],
    });
    execFileSync('/bin/umount', [mountPoint]);
    writeFileSync(join(mountPoint, 'hidden'), '');
    for (const path of ['m/inside', 'm/sub/file', 'm', 'm/hidden']) {
      expect(rig.dirtyScan(dirty(path))).toMatchObject({ gone: [], kept: ['1113 m'] });
      expect([...rig.backup.keys()]).toEqual([...before.keys()]);
    }
    execFileSync('/bin/mount', ['-t', 'tmpfs', 'scan-test', mountPoint]);
    writeFileSync(join(mountPoint, 'inside'), 'other');
    const found = rig.dirtyScan(dirty('m/inside'));
    expect(found).toMatchObject({ work: ['m', 'm/inside'], gone: ['m/sub', 'm/sub/file'], kept: [] });
    rig.expectBackupIsTree();
    expect(rig.dirtyScan(dirty('m/inside'), { oneFileSystem: true }).gone).toEqual(['m/inside']);
  });

  it('proc and sysfs are entries and a note, and are not entered', () => {
    const rig = useRig();
    const views = ['proc', 'sysfs'].map((type) => {
      mkdirSync(rig.path(type));
      execFileSync('/bin/mount', ['-t', type, 'scan-test', rig.path(type)]);
      return type;
    });
    try {
      for (const work of [['.', ...views], []])
        expect(rig.scan()).toMatchObject({ work, gone: [], kept: [], notes: ['1115 proc', '1115 sysfs'] });
    } finally {
      for (const type of views) execFileSync('/bin/umount', [rig.path(type)]);
    }
    expect(rig.scan()).toMatchObject({ gone: [], kept: [], notes: [] });
  });

  it('a folder that is mounted where it is, as it was, is a mount point from then on', () => {
    const rig = useRig();
    const mountPoint = rig.path('d', 'm');
    mkdirSync(mountPoint, { recursive: true });
    writeFileSync(join(mountPoint, 'inside'), 'x');
    rig.scan();
    execFileSync('/bin/mount', ['--bind', mountPoint, mountPoint]);
    expect(rig.scan()).toMatchObject({ work: [], gone: [], kept: [] });
    execFileSync('/bin/umount', [mountPoint]);
    expect(rig.scan()).toMatchObject({ work: [], gone: [], kept: ['1113 d/m'] });
  });

  it('a file system that is mounted again is merged as ever', () => {
    const { rig, mountPoint } = mounted();
    rig.scan();
    execFileSync('/bin/umount', [mountPoint]);
    rig.scan();
    execFileSync('/bin/mount', ['-t', 'tmpfs', 'scan-test', mountPoint]);
    writeFileSync(join(mountPoint, 'inside'), 'other');
    expect(rig.scan()).toMatchObject({ work: ['m', 'm/inside'], gone: ['m/sub', 'm/sub/file'], kept: [] });
    rig.expectBackupIsTree();
    execFileSync('/bin/umount', [mountPoint]);
  });

  it.each([
    ['unmounted', () => {}],
    ['unmounted and removed, as desktops do,', rmdirSync],
  ])('one that is %s between listing and visit deletes nothing', (_, remove) => {
    const { rig, mountPoint } = mounted();
    rig.scan();
    writeFileSync(rig.path('z'), '');
    const before = rig.backup.size;
    const found = rig.scan({
      limits: { maxEntries: 1, maxBytes: 1 },
      before: (step) => {
        if (step !== 2) return;
        execFileSync('/bin/umount', [mountPoint]);
        remove(mountPoint);
      },
    });
    expect(found).toMatchObject({ work: ['.', 'z'], gone: [], kept: ['1113 m'] });
    expect(rig.backup.size).toBe(before + 1);
  });

  it('with one file system a mount point is an empty directory', () => {
    const { rig, mountPoint } = mounted();
    expect(rig.scan({ oneFileSystem: true }).work).toEqual(['.', 'm']);
    expect(rig.scan().work).toEqual(['m/inside', 'm/sub', 'm/sub/file']);
    expect(rig.scan({ oneFileSystem: true }).gone).toEqual(['m/inside', 'm/sub', 'm/sub/file']);
    execFileSync('/bin/umount', [mountPoint]);
    expect(rig.scan({ oneFileSystem: true })).toMatchObject({ work: ['m'], kept: [] });
  });
});

function mounted(): { rig: Rig; mountPoint: string } {
  const rig = useRig();
  const mountPoint = rig.path('m');
  mkdirSync(mountPoint);
  execFileSync('/bin/mount', ['-t', 'tmpfs', 'scan-test', mountPoint]);
  writeFileSync(join(mountPoint, 'inside'), 'x');
  mkdirSync(join(mountPoint, 'sub'));
  writeFileSync(join(mountPoint, 'sub', 'file'), 'y');
  return { rig, mountPoint };
}

function canMount(): boolean {
  const rig = new Rig();
  try {
    if (spawnSync('/bin/mount', ['-t', 'tmpfs', 'scan-test', rig.tree]).status !== 0) return false;
    execFileSync('/bin/umount', [rig.tree]);
    return true;
  } finally {
    rig.close();
  }
}
