import {
  appendFileSync,
  chmodSync,
  existsSync,
  linkSync,
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
import { fromSlashes, parentPath } from '../../model/tree-path.ts';
import { ExcludeRules } from '../excludes.ts';
import { Scan } from '../scan.ts';
import { b, type Found, later, now, Rig } from '../scan-rig.suite.ts';
import { peekState } from '../state-file.ts';
import { StateWriter } from '../state-writer.ts';
import type { DirtyPaths } from './dirty-scan.ts';

const NAMES = ['a', 'a!', 'ab', 'b', 'Ä', '\u{10000}', '\uffff'];
const path = fc.array(fc.constantFrom(...NAMES), { minLength: 1, maxLength: 4 });
const edit = fc.record({
  do: fc.constantFrom(
    'write',
    'write',
    'append',
    'mkdir',
    'remove',
    'rename',
    'symlink',
    'link',
    'link',
    'chmod',
  ),
  path,
  to: path,
});
type Edit = typeof edit extends fc.Arbitrary<infer T> ? T : never;
const round = fc.record({
  edits: fc.array(edit, { maxLength: 20 }),
  maxEntries: fc.constantFrom(1, 3, 512),
  trusts: fc.boolean(),
  /** A source that has names listed, as polling does, instead of telling each. */
  lists: fc.boolean(),
  /** Told of what did not change, too. */
  more: fc.array(path, { maxLength: 3 }),
});

/** Gathers what a source tells of edits. */
class Told {
  readonly #entries = new Map<string, string>();
  readonly #subtrees = new Set<string>();

  entry(names: readonly string[]): void {
    this.#entries.set(names.join('/'), '');
  }

  subtree(names: readonly string[]): void {
    this.entry(names);
    this.#subtrees.add(names.join('/'));
  }

  dirty(lists: boolean): DirtyPaths {
    const entries = [...this.#entries.keys()].map((one) => ({ path: fromSlashes(one) }));
    const parents = new Map(
      entries.map((one) => [parentPath(one.path).toString('hex'), parentPath(one.path)]),
    );
    const listed = [...parents.values()].map((one) => ({ path: one, listing: true as const }));
    const subtrees = [...this.#subtrees].map((one) => ({ path: fromSlashes(one), reason: 'new' as const }));
    return { entries: lists ? [...entries, ...listed] : entries, subtrees, unsettled: [] };
  }
}

let size = 0;

/** Does what is possible of an edit. */
function apply(tree: string, one: Edit, told: Told): void {
  const target = join(tree, ...one.path);
  const missing = one.path.findIndex((_, i) => !existsSync(join(tree, ...one.path.slice(0, i + 1))));
  try {
    if (one.do === 'write') writeFileSync(target, 'x'.repeat(++size % 1000), { flag: 'wx' });
    else if (one.do === 'append' && lstatSync(target).isFile()) appendFileSync(target, `more ${++size}`);
    else if (one.do === 'mkdir') mkdirSync(target, { recursive: true });
    else if (one.do === 'remove') rmSync(target, { recursive: true });
    else if (one.do === 'rename') renameSync(target, join(tree, ...one.to));
    else if (one.do === 'symlink') symlinkSync(`target ${++size}`, target);
    else if (one.do === 'link') linkSync(target, join(tree, ...one.to));
    else if (one.do === 'chmod' && lstatSync(target).isFile()) chmodSync(target, 0o600 + (++size % 0o77));
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
    return;
  }
  told.entry(one.path);
  if (one.do === 'mkdir' && missing >= 0) told.subtree(one.path.slice(0, missing + 1));
  if (one.do === 'link') told.entry(one.to);
  if (one.do === 'rename') told.subtree(one.to);
}

type Steps = Pick<Found, 'work' | 'gone' | 'kept'>;

/** What a whole scan would find; nothing changes by it. */
function wholeScan(rig: Rig, startedAt: bigint): Steps & { totals: Found['totals']; rootHint: string } {
  const state = peekState(rig.statePath, rig.identity!, join(rig.home, 'peeked'))!;
  const stateWriter = new StateWriter(join(rig.home, 'whole'), startedAt);
  const scan = new Scan({
    rootFd: rig.rootFd,
    rootPath: b(rig.tree),
    state,
    stateWriter,
    readAll: false,
    excludes: new ExcludeRules(),
    oneFileSystem: false,
    skip: [],
    startedAt,
  });
  const found = rig.stepsOf(scan);
  const { totals, rootHint } = { totals: { ...scan.totals }, rootHint: scan.rootHint() };
  scan.close();
  stateWriter.abandon();
  state.close();
  return { ...found, totals, rootHint };
}

it('a look at the changed paths finds what a whole scan finds, over any edits', () => {
  fc.assert(
    fc.property(fc.array(round, { minLength: 1, maxLength: 4 }), (rounds) => {
      const rig = new Rig('/dev/shm');
      try {
        mkdirSync(join(rig.tree, 'a', 'b'), { recursive: true });
        mkdirSync(join(rig.tree, 'ab'));
        writeFileSync(join(rig.tree, 'a', 'b', 'a'), 'content');
        rig.scan();
        let isTrusted = true;
        for (const { edits, maxEntries, trusts, lists, more } of rounds) {
          const told = new Told();
          for (const one of edits) apply(rig.tree, one, told);
          for (const one of more) told.entry(one);
          const startedAt = trusts ? later() : now();
          const whole = wholeScan(rig, startedAt);
          const { work, gone, kept, totals, rootHint } = rig.dirtyScan(told.dirty(lists), {
            limits: { maxEntries, maxBytes: 2000 },
            startedAt,
          });
          // Young times have a whole scan read entries again; who is told of every change needn't.
          isTrusted &&= trusts;
          if (isTrusted) expect({ work, gone, kept, totals, rootHint }).toEqual(whole);
          rig.expectBackupIsTree();
        }
        expect(rig.scan({ startedAt: later() })).toMatchObject({ gone: [], kept: [], notes: [] });
      } finally {
        rig.close();
      }
    }),
    { numRuns: 60 },
  );
});
