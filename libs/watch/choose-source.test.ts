import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { geteuid } from '../posix/index.ts';
import { chooseSource, planSource } from './choose-source.ts';
import { whyNoMounts } from './mountable.suite.ts';
import type { Mount } from './mounts.ts';
import { mountTmpfs, WatchRig } from './watch-rig.suite.ts';

const mount = (point: string, type: string, device: string): Mount => ({ id: 1n, point, type, device });
const disk = mount('/', 'ext4', '254:0');
const facts = { mount: disk, below: [], fanotify: undefined, inotify: undefined };

function chosen(tree: string): string {
  const rootFd = openSync(tree, 'r');
  try {
    return chooseSource({ rootFd, rootPath: Buffer.from(tree) }).kind;
  } finally {
    closeSync(rootFd);
  }
}

describe('the source for a root', () => {
  it('is fanotify where that works, else inotify, else polling', () => {
    expect(planSource(facts).kind).toBe('fanotify');
    expect(planSource({ ...facts, fanotify: 'EPERM' })).toEqual({
      kind: 'inotify',
      reason: "a watch per folder, since fanotify can't be used (EPERM)",
    });
    expect(planSource({ ...facts, fanotify: 'EPERM', inotify: 'EMFILE' })).toEqual({
      kind: 'poll',
      reason: 'neither fanotify (EPERM) nor inotify (EMFILE) can be used',
    });
  });

  it.each(['nfs4', 'cifs', '9p', 'virtiofs', 'fuse.sshfs'])(
    'is polling on %s, and where one is mounted below',
    (type) => {
      const shared = mount('/data/x', type, '0:50');
      expect(planSource({ ...facts, mount: shared }).kind).toBe('poll');
      const choice = planSource({ ...facts, below: [shared] });
      expect(choice.kind).toBe('poll');
      expect(choice.reason).toContain(`/data/x is ${type}`);
    },
  );

  it('is polling where one file system is below the root twice, views of the system do not count', () => {
    const below = [mount('/data/a', 'xfs', '8:1'), mount('/data/b', 'xfs', '8:2')];
    expect(planSource({ ...facts, below }).kind).toBe('fanotify');
    expect(planSource({ ...facts, below: [...below, mount('/data/c', 'xfs', '8:1')] }).kind).toBe('poll');
    expect(planSource({ ...facts, below: [mount('/data/same', 'ext4', '254:0')] }).kind).toBe('poll');
    const proc = mount('/data/proc', 'proc', '0:5');
    expect(planSource({ ...facts, below: [proc, proc] }).kind).toBe('fanotify');
  });

  it('is found out on the system, where a bind mount below the root makes it polling', (context) => {
    const reason = whyNoMounts();
    if (reason !== undefined || geteuid() !== 0) return context.skip(reason ?? 'needs root');
    const rig = new WatchRig(() => Promise.reject(new Error('not watched')));
    mountTmpfs(rig.tree);
    for (const name of ['a', 'b']) mkdirSync(rig.path(name));
    expect(chosen(rig.tree)).toBe('fanotify');
    const [a, b] = [`${rig.tree}/a`, `${rig.tree}/b`];
    execFileSync('/bin/mount', ['--bind', a, b]);
    onTestFinished(() => void execFileSync('/bin/umount', [b]));
    expect(chosen(rig.tree)).toBe('poll');
  });
});
