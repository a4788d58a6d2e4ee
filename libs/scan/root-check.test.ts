import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import * as posix from '../posix/index.ts';
import { checkRoot, rootHint, topLevelNames } from './root-check.ts';
import { type Rig, useRig } from './scan-rig.suite.ts';

function backedUp(names: number): { rig: Rig; hint: string; known: Buffer[] } {
  const rig = useRig();
  for (let i = 0; i < names; i++) writeFileSync(rig.path(`name${i}`), '');
  mkdirSync(rig.path('dir'));
  writeFileSync(rig.path('dir', 'below'), '');
  const { rootHint: hint } = rig.scan();
  const state = rig.openState()!;
  const known = topLevelNames(state);
  state.close();
  return { rig, hint, known };
}

/** Checks another directory in the root's place. */
function checkOther(rig: Rig, hint: string, known: Buffer[], names: string[]): string {
  const path = join(rig.home, 'other');
  mkdirSync(path);
  for (const name of names) writeFileSync(join(path, name), '');
  const fd = posix.open(path, posix.O_RDONLY | posix.O_DIRECTORY);
  try {
    return checkRoot(fd, hint, known);
  } finally {
    posix.close(fd);
  }
}

it('the hint says inode, type of file system and number of names', () => {
  const { rig, hint, known } = backedUp(3);
  expect(hint).toBe(rootHint(rig.rootFd));
  expect(JSON.parse(hint)).toEqual({
    ino: expect.stringMatching(/^\d+$/),
    fsType: expect.any(Number),
    names: 4,
  });
  expect(known.map(String)).toEqual(['dir', 'name0', 'name1', 'name2']);
});

it('a root that is what it was is taken, whatever it lacks', () => {
  const { rig, hint, known } = backedUp(3);
  for (const name of ['name0', 'name1', 'name2']) rmSync(rig.path(name));
  expect(checkRoot(rig.rootFd, hint, known)).toBe('ok');
});

it('an emptied root is refused', () => {
  const { rig, hint, known } = backedUp(1);
  rmSync(rig.path('name0'));
  renameSync(rig.path('dir'), join(rig.home, 'dir'));
  expect(checkRoot(rig.rootFd, hint, known)).toBe('TM1105');
  expect(checkRoot(rig.rootFd, undefined, known)).toBe('TM1105');
  expect(checkRoot(rig.rootFd, hint, [])).toBe('TM1105');
  expect(checkRoot(rig.rootFd, undefined, [])).toBe('ok');
});

it('another directory that lacks half of the names is refused', () => {
  const { rig, hint, known } = backedUp(3);
  expect(checkOther(rig, hint, known, ['name0', 'dir', 'new'])).toBe('TM1105');
});

it('another directory that has more than half of the names is taken', () => {
  const { rig, hint, known } = backedUp(3);
  expect(checkOther(rig, hint, known, ['name0', 'name1', 'dir'])).toBe('ok');
});
