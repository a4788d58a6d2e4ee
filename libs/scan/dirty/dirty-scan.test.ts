import {
  appendFileSync,
  chmodSync,
  linkSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { describe, expect, it } from 'vitest';
import { fromSlashes } from '../../model/tree-path.ts';
import { ExcludeRules } from '../excludes.ts';
import { isRoot, type Rig, useRig } from '../scan-rig.suite.ts';
import type { DirtyPaths } from './dirty-scan.ts';

const entries = (...paths: string[]): DirtyPaths => ({
  entries: paths.map((path) => ({ path: fromSlashes(path) })),
  subtrees: [],
  unsettled: [],
});
const subtrees = (...paths: string[]): DirtyPaths => ({
  ...entries(),
  subtrees: paths.map((path) => ({ path: fromSlashes(path) })),
});

function treeOf(...files: string[]): Rig {
  const rig = useRig();
  for (const file of files) {
    mkdirSync(dirname(rig.path(file)), { recursive: true });
    writeFileSync(rig.path(file), file);
  }
  rig.scan();
  return rig;
}

describe('a scan of dirty paths', () => {
  it('looks where it is told, and at the folder of it', () => {
    const rig = treeOf('a/f', 'a/g', 'b/f');
    for (const file of ['a/f', 'a/new', 'b/f']) appendFileSync(rig.path(file), 'x');
    expect(rig.dirtyScan(entries('a/f', 'a/new'))).toMatchObject({ work: ['a', 'a/f', 'a/new'], gone: [] });
    expect(rig.dirtyScan(entries('a/f'))).toMatchObject({ work: [], gone: [] });
    expect(rig.scan().work).toEqual(['b/f']);
  });

  it('what is below a folder that is gone, or no folder any more, is gone too', () => {
    const rig = treeOf('a/b/f', 'c/d/f');
    rmSync(rig.path('a'), { recursive: true });
    rmSync(rig.path('c'), { recursive: true });
    symlinkSync('/', rig.path('c'));
    const found = rig.dirtyScan(entries('a/b/f', 'a', 'c/d'));
    expect(found).toMatchObject({ work: ['.', 'c'], gone: ['a', 'a/b', 'a/b/f', 'c/d', 'c/d/f'] });
    rig.expectBackupIsTree();
  });

  it('a path below what is not known leads to the topmost of it, with all that is in it', () => {
    const rig = treeOf('a/f');
    mkdirSync(rig.path('a/new/deep'), { recursive: true });
    writeFileSync(rig.path('a/new/deep/f'), '');
    writeFileSync(rig.path('a/new/g'), '');
    const { work } = rig.dirtyScan(entries('a/new/deep/f'));
    expect(work).toEqual(['a', 'a/new', 'a/new/deep', 'a/new/g', 'a/new/deep/f']);
  });

  it('a folder in place of another one is walked', () => {
    const rig = treeOf('a/f', 'b/g');
    rmSync(rig.path('a'), { recursive: true });
    renameSync(rig.path('b'), rig.path('a'));
    expect(rig.dirtyScan(entries('a', 'b'))).toMatchObject({ gone: ['b', 'a/f', 'b/g'] });
    rig.expectBackupIsTree();
  });

  it('never leaves the tree, whatever takes the place of a folder on the way', () => {
    const rig = treeOf('a/b/f');
    const other = treeOf('b/f', 'secret');
    rmSync(rig.path('a'), { recursive: true });
    symlinkSync(other.tree, rig.path('a'));
    const { work, gone } = rig.dirtyScan(entries('a/b/f', 'a/secret'));
    expect(work).toEqual(['.', 'a']);
    expect(gone).toEqual(['a/b', 'a/b/f']);
  });

  it('lists a folder where names may have come and gone unseen', () => {
    const rig = treeOf('a/f', 'a/g', 'a/d/f');
    unlinkSync(rig.path('a/f'));
    rmSync(rig.path('a/d'), { recursive: true });
    mkdirSync(rig.path('a/new'));
    writeFileSync(rig.path('a/new/f'), '');
    const listing = [{ path: fromSlashes('a'), listing: true as const }];
    const found = rig.dirtyScan({ ...entries(), entries: listing });
    expect(found).toMatchObject({ work: ['a', 'a/new', 'a/new/f'], gone: ['a/d', 'a/f', 'a/d/f'] });
  });

  it('what is excluded, or passed by, needs no more than a look', () => {
    const rig = treeOf('a/f');
    mkdirSync(rig.path('cache/deep'), { recursive: true });
    writeFileSync(rig.path('cache/deep/f'), '');
    const excludes = new ExcludeRules(['cache/', '*.tmp']);
    writeFileSync(rig.path('a/x.tmp'), '');
    const { work } = rig.dirtyScan(entries('cache/deep/f', 'a/x.tmp'), { excludes });
    expect(work).toEqual(['.', 'a']);
  });

  it('an ignore file that changes has its folder walked', () => {
    const rig = treeOf('a/f', 'a/d/f', 'a/d/g');
    writeFileSync(rig.path('a/.tidemarkignore'), 'f\n');
    const found = rig.dirtyScan(entries('a/.tidemarkignore'));
    expect(found).toMatchObject({ work: ['a', 'a/.tidemarkignore'], gone: ['a/f', 'a/d/f'] });
    unlinkSync(rig.path('a/.tidemarkignore'));
    const back = rig.dirtyScan(entries('a/.tidemarkignore'));
    expect(back).toMatchObject({ work: ['a', 'a/f', 'a/d/f'], gone: ['a/.tidemarkignore'] });
  });

  it('a file that is still being written is flagged, and read again next time', () => {
    const rig = treeOf('f', 'g');
    appendFileSync(rig.path('f'), 'x');
    const dirty = { ...entries('f', 'g'), unsettled: [fromSlashes('f')] };
    expect(rig.dirtyScan(dirty)).toMatchObject({ work: ['f'], notes: ['1116 f'] });
    expect(rig.dirtyScan(entries('f', 'g'))).toMatchObject({ work: ['f'], notes: [] });
    expect(rig.dirtyScan(entries('f', 'g'))).toMatchObject({ work: [] });
  });

  it('an emptied root is refused until that is accepted', () => {
    const rig = treeOf('f');
    const rootHint = rig.scan().rootHint;
    unlinkSync(rig.path('f'));
    expect(() => rig.dirtyScan(entries('f'), { rootHint })).toThrow('emptied or replaced');
    expect(rig.dirtyScan(entries('f'), { rootHint, acceptRoot: true })).toMatchObject({ gone: ['f'] });
  });

  it('what can not be read keeps its last version, and what changed below it meanwhile is found later', (context) => {
    if (!isRoot) context.skip('needs root, to be somebody else as well');
    const rig = treeOf('a/b/f', 'a/b/g');
    appendFileSync(rig.path('a/b/f'), 'x');
    chmodSync(rig.path('a'), 0o700);
    const run = { asNobody: true };
    const found = rig.dirtyScan(entries('a', 'a/b/f'), run);
    expect(found).toMatchObject({ work: [], gone: [], kept: ['1110 a'] });
    chmodSync(rig.path('a'), 0o755);
    expect(rig.dirtyScan(entries('a'), run).work).toEqual(['a', 'a/b/f']);
    rig.expectBackupIsTree();
  });
});

describe('names of one inode', () => {
  it('a write through one is seen for all', () => {
    const rig = treeOf('a/f', 'b/g', 'c/h');
    linkSync(rig.path('a/f'), rig.path('b/link'));
    linkSync(rig.path('a/f'), rig.path('c/link'));
    expect(rig.dirtyScan(entries('b/link', 'c/link')).work).toEqual(['b', 'c', 'a/f', 'b/link', 'c/link']);
    appendFileSync(rig.path('b/link'), 'x');
    expect(rig.dirtyScan(entries('b/link')).work).toEqual(['a/f', 'b/link', 'c/link']);
    appendFileSync(rig.path('c/link'), 'x');
    unlinkSync(rig.path('c/link'));
    const found = rig.dirtyScan(entries('c/link'));
    expect(found).toMatchObject({ work: ['c', 'a/f', 'b/link'], gone: ['c/link'] });
    rig.expectBackupIsTree();
  });

  it('one that is taken by another file tells of the rest', () => {
    const rig = treeOf('f', 'other');
    linkSync(rig.path('f'), rig.path('link'));
    rig.dirtyScan(entries('link'));
    appendFileSync(rig.path('link'), 'x');
    renameSync(rig.path('other'), rig.path('link'));
    expect(rig.dirtyScan(entries('link', 'other'))).toMatchObject({
      work: ['.', 'f', 'link'],
      gone: ['other'],
    });
    rig.expectBackupIsTree();
  });
});

describe('a folder that was renamed', () => {
  it('has what is in it read no more, but where that changed', () => {
    const rig = treeOf('a/f', 'a/g', 'a/d/f', 'a/d/h', 'b/x');
    renameSync(rig.path('a'), rig.path('b/moved'));
    appendFileSync(rig.path('b/moved/d/f'), 'x');
    const found = rig.dirtyScan({ ...subtrees('b/moved'), entries: entries('a', 'b/moved').entries });
    expect(found.gone).toEqual(['a', 'a/d', 'a/f', 'a/g', 'a/d/f', 'a/d/h']);
    expect(found.moved).toEqual(['b/moved/d', 'b/moved/f', 'b/moved/g', 'b/moved/d/h']);
    expect(found.work).toEqual([
      ...['.', 'b', 'b/moved', 'b/moved/d', 'b/moved/f', 'b/moved/g', 'b/moved/d/f', 'b/moved/d/h'],
    ]);
    rig.expectBackupIsTree();
  });

  it('is known wherever what is in it was renamed to', () => {
    const rig = treeOf('a/d/f', 'a/g');
    renameSync(rig.path('a/d'), rig.path('d'));
    renameSync(rig.path('a'), rig.path('b'));
    renameSync(rig.path('d'), rig.path('b/e'));
    expect(rig.dirtyScan(subtrees('b')).moved).toEqual(['b/g', 'b/e/f']);
  });

  it('is read where nothing is sure of what was in it', () => {
    const rig = treeOf('a/f', 'a/g');
    appendFileSync(rig.path('a/f'), 'x');
    rig.dirtyScan({ ...entries('a/f'), unsettled: [fromSlashes('a/f')] });
    renameSync(rig.path('a'), rig.path('b'));
    expect(rig.dirtyScan(subtrees('b'))).toMatchObject({ work: ['.', 'b', 'b/f', 'b/g'], moved: ['b/g'] });
  });

  it('one that was copied and given its times is read', () => {
    const rig = treeOf('a/f');
    mkdirSync(rig.path('b'));
    writeFileSync(rig.path('b/f'), 'a/f');
    utimesSync(rig.path('b/f'), 1, 1);
    utimesSync(rig.path('a/f'), 1, 1);
    expect(rig.dirtyScan(subtrees('b'))).toMatchObject({ work: ['.', 'b', 'b/f'], moved: [] });
  });
});
