import { expect, test } from 'vitest';
import { type EntryState, EntryType } from '../model/entry.ts';
import { changesNothing, type LocalAttributes, planAttributes } from './attributes.ts';

const attribute = (name: string, value = 'v') => ({ name: Buffer.from(name), value: Buffer.from(value) });

const state = (changes: Partial<EntryState> = {}): EntryState => ({
  type: EntryType.file,
  flags: 0,
  mode: 0o644,
  uid: 5,
  gid: 6,
  user: '',
  group: '',
  mtimeSec: 7n,
  mtimeNsec: 8,
  size: 0,
  linkGroup: 0n,
  rdevMajor: 0,
  rdevMinor: 0,
  target: Buffer.alloc(0),
  xattrs: [],
  digest: undefined,
  recipe: undefined,
  ...changes,
});

const local = (changes: Partial<LocalAttributes> = {}): LocalAttributes => ({
  uid: 5,
  gid: 6,
  mode: 0o644,
  mtime: { sec: 7n, nsec: 8 },
  xattrs: [],
  ...changes,
});

test('what is right is left alone', () => {
  const xattrs = [attribute('user.a')];
  expect(changesNothing(planAttributes(local({ xattrs }), state(), xattrs, true))).toBe(true);
});

test('each difference takes its own call only', () => {
  expect(planAttributes(local({ uid: 1 }), state(), [], true)).toMatchObject({
    chown: true,
    mode: undefined,
  });
  expect(planAttributes(local({ mode: 0o600 }), state(), [], true)).toMatchObject({
    chown: false,
    mode: 0o644,
  });
  expect(planAttributes(local({ mtime: { sec: 7n, nsec: 9 } }), state(), [], true)).toMatchObject({
    times: true,
  });
  expect(planAttributes(local({ mtime: undefined }), state(), [], true)).toMatchObject({ times: true });
  const steps = planAttributes(
    local({ xattrs: [attribute('user.a', 'old'), attribute('user.b'), attribute('user.c')] }),
    state(),
    [attribute('user.a', 'new'), attribute('user.c')],
    true,
  );
  expect(steps.remove.map(String)).toEqual(['user.b']);
  expect(steps.set).toEqual([attribute('user.a', 'new')]);
});

test('an ACL or a change of owner is followed by the mode that it may have changed', () => {
  const acl = [attribute('system.posix_acl_access')];
  expect(planAttributes(local(), state(), acl, true).mode).toBe(0o644);
  expect(planAttributes(local({ xattrs: acl }), state(), [], true).mode).toBe(0o644);
  const setuid = state({ mode: 0o4755 });
  expect(planAttributes(local({ mode: 0o4755, gid: 1 }), setuid, [], true).mode).toBe(0o4755);
});

test('capabilities are set again after a change of owner, which drops them', () => {
  const capability = [attribute('security.capability')];
  expect(planAttributes(local({ xattrs: capability }), state(), capability, true).set).toEqual([]);
  expect(planAttributes(local({ xattrs: capability, uid: 1 }), state(), capability, true).set).toEqual(
    capability,
  );
});

test('without root another owner stays, and setuid is left out', () => {
  const steps = planAttributes(local({ uid: 1, mode: 0o755 }), state({ mode: 0o6755 }), [], false);
  expect(steps).toMatchObject({ chown: false, ownerKept: true, mode: undefined });
  expect(planAttributes(local({ gid: 1 }), state(), [], false)).toMatchObject({
    chown: true,
    ownerKept: false,
  });
});

test('a symlink has no mode to set', () => {
  const link = state({ type: EntryType.symlink, mode: 0o777 });
  expect(planAttributes(local({ mode: 0o700 }), link, [], true).mode).toBeUndefined();
});
