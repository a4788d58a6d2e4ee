import {
  appendFileSync,
  chmodSync,
  lstatSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { later, now, Rig } from './scan-rig.suite.ts';

/** Names whose order by bytes, as siblings and as parts of paths, is easily got wrong. */
const NAMES = ['a', 'a!', 'a.b', 'ab', 'b', 'Ä', 'á\u0301', '\u{10000}', '\uffff', ' '];
const name = fc.constantFrom(...NAMES);
const path = fc.array(name, { minLength: 1, maxLength: 4 });
const edit = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('write' as const), path }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('mkdir' as const), path }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('remove' as const), path }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('rename' as const), path, to: path }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('link' as const), path }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('chmod' as const), path }) },
);
type Edit = typeof edit extends fc.Arbitrary<infer T> ? T : never;

/** Sizes grow, so that no edit goes unseen where timestamps are coarse. */
let size = 0;

/** Does what is possible of an edit; the rest is no edit. */
function apply(tree: string, edit: Edit): void {
  const target = join(tree, ...edit.path);
  try {
    if (edit.do === 'write') writeFileSync(target, 'x'.repeat(++size % 1000), { flag: 'wx' });
    else if (edit.do === 'mkdir') mkdirSync(target, { recursive: true });
    else if (edit.do === 'remove') rmSync(target, { recursive: true });
    else if (edit.do === 'rename') renameSync(target, join(tree, ...edit.to));
    else if (edit.do === 'link') symlinkSync(`target ${++size}`, target);
    else if (lstatSync(target).isFile()) chmodSync(target, 0o600 + (++size % 0o77));
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
    if (edit.do === 'write' && error.code === 'EEXIST' && lstatSync(target).isFile())
      appendFileSync(target, 'more');
  }
}

const round = fc.record({
  edits: fc.array(edit, { maxLength: 25 }),
  readAll: fc.boolean(),
  maxEntries: fc.constantFrom(1, 3, 512),
  trusts: fc.boolean(),
});

it('the old state and the steps of a scan make exactly the new tree, over any edits', () => {
  fc.assert(
    fc.property(fc.array(round, { minLength: 1, maxLength: 5 }), (rounds) => {
      const rig = new Rig('/dev/shm');
      try {
        for (const { edits, readAll, maxEntries, trusts } of rounds) {
          for (const one of edits) apply(rig.tree, one);
          const limits = { maxEntries, maxBytes: 2000 };
          rig.scan({ readAll, limits, startedAt: trusts ? later() : now() });
          rig.expectBackupIsTree();
        }
        rig.scan();
        expect(rig.scan()).toMatchObject({ work: [], gone: [], kept: [], notes: [] });
      } finally {
        rig.close();
      }
    }),
    { numRuns: 60 },
  );
});
