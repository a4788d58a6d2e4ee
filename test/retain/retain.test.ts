import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { afterAll, beforeAll, test } from '../needs.ts';
import { RetainRig } from './rig.suite.ts';

let rig: RetainRig;
/** Labels by round, from 1. */
const labels: string[] = [''];
const KINDS = 'FDDFDDFDD';

beforeAll(() => {
  rig = new RetainRig('retain');
  for (let n = 1; n <= KINDS.length; n++) {
    rig.edit(n);
    const tag = n === 5 ? ['--tag', 'keep=me'] : [];
    labels.push(rig.backup(KINDS[n - 1] === 'F' ? '--full' : '--differential', ...tag));
  }
}, 60_000);
afterAll(() => rig.close());

const kept = (...rounds: number[]) => rounds.map((n) => labels[n]);
const RULES = ['--keep-last', '2', '--keep-tag', 'keep=me', '--keep-tag', 'keep=other'];

test('without a rule nothing expires, and neither of a source that is not there', () => {
  expect(rig.run('expire', '--dry-run')).toMatchObject({ status: 2, last: { code: 'TM1001' } });
  expect(rig.run('expire', '--keep-within', '7')).toMatchObject({ status: 2, last: { code: 'TM1002' } });
  expect(rig.run('expire', '/no/such/source', '--keep-last', '1')).toMatchObject({ status: 10 });
  expect(rig.labels()).toHaveLength(KINDS.length);
});

test('dry runs of expire and prune change nothing', () => {
  const before = [rig.objects(), rig.ok('backups').text];
  const expiry = rig.ok('expire', rig.source, ...RULES, '--dry-run');
  const action = Object.fromEntries(expiry.lines.slice(0, -1).map((line) => [line.label, line.action]));
  expect(Object.keys(action).filter((label) => action[label] === 'keep')).toEqual(kept(4, 5, 7, 8, 9));
  expect(expiry.last).toMatchObject({ type: 'summary', kept: 5, expired: 4, dryRun: true });
  expect(expiry.lines[4]).toMatchObject({ type: 'expiry', label: labels[5], reasons: ['tag keep=me'] });
  expect(rig.ok('prune', '--dry-run').last).toMatchObject({ type: 'summary', packs: 0, dryRun: true });
  expect([rig.objects(), rig.ok('backups').text]).toEqual(before);
});

test('expire keeps what rules, pins and dependencies need; prune frees the rest; all that is kept restores exactly', {
  timeout: 120_000,
}, () => {
  rig.ok('pin', labels[2]!);
  const diff = rig.ok('diff', labels[2]!).text;
  const expiry = rig.ok('expire', rig.source, ...RULES);
  expect(expiry.last).toMatchObject({ kept: 7, expired: 2, timeZone: expect.any(String) });
  expect(expiry.last.droppedEntries).toBeGreaterThan(0);
  expect(rig.labels()).toEqual(kept(1, 2, 4, 5, 7, 8, 9));
  expect(rig.run('restore', labels[3]!, '--to', join(rig.base, 'x'))).toMatchObject({ status: 10 });
  expect(rig.ok('diff', labels[2]!).text).toBe(diff);

  const [used, objects] = [rig.used(), rig.objects()];
  const planned = rig.ok('prune', '--dry-run').last;
  expect(planned.packs).toBeGreaterThan(0);
  expect(planned.bytes).toBeGreaterThan(2 * 2_700_000); // what only rounds 3 and 6 had
  expect(rig.objects()).toEqual(objects);
  const done = rig.ok('prune').last;
  expect(done).toMatchObject({
    packs: planned.packs,
    bytes: planned.bytes,
    idleBytes: planned.idleBytes,
    orphans: 0,
  });
  expect(used - rig.used()).toBeGreaterThanOrEqual(done.bytes as number);
  rig.expectAllWell();
  expect(rig.ok('prune').last).toMatchObject({ packs: 0, bytes: 0 });
});

test('what lies in packs that are partly needed is told, not freed', () => {
  // The first full's pack: round 1's churn is dead once its backups are gone, the other files are still there.
  rig.ok('pin', labels[2]!, '--off');
  rig.ok('expire', ...RULES);
  expect(rig.labels()).toEqual(kept(4, 5, 7, 8, 9));
  const { last } = rig.ok('prune');
  expect(last.idleBytes).toBeGreaterThan(0);
  rig.expectAllWell();
});

test('content that was pruned and comes back is stored again', () => {
  rig.bringBack(labels[3]!);
  const { last } = rig.ok('backup', rig.source);
  expect(last.newBytes).toBeGreaterThanOrEqual(2_700_000);
  const again = rig.backup();
  rig.expectRestores(again);
  expect(rig.ok('verify', '--read-data').last).toMatchObject({ findings: 0 });
});

test('an object in packs/ that the registry does not know is reported and left alone', () => {
  const name = 'packs/00/'.concat('0'.repeat(64));
  const path = join(rig.home, 'store', name);
  mkdirSync(join(rig.home, 'store', 'packs/00'), { recursive: true });
  writeFileSync(path, 'whatever');
  const { lines, last } = rig.ok('prune');
  expect(lines).toContainEqual({ type: 'orphan', object: name, bytes: 8 });
  expect(last).toMatchObject({ orphans: 1, orphanBytes: 8 });
  expect(existsSync(path)).toBe(true);
  rmSync(path);
});
