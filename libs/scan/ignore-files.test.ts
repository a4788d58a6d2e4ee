import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ExcludeRules } from './excludes.ts';
import { isRoot, type Rig, useRig } from './scan-rig.suite.ts';

const TAG = 'Signature: 8a477f597d28d172789f06886806bc55\n# made by a test\n';

function write(rig: Rig, files: Record<string, string>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(rig.path(path)), { recursive: true });
    writeFileSync(rig.path(path), content);
  }
}

describe('.tidemarkignore', () => {
  it('leaves out what it names, for its folder and below; the file itself is in the backup', () => {
    const rig = useRig();
    write(rig, { 'a/.tidemarkignore': '*.tmp\n/out/\n', 'a/x.tmp': '', 'a/b/y.tmp': '', 'a/out/z': '' });
    write(rig, { 'x.tmp': '', 'a/b/out/z': '', 'a/keep': '' });
    const { work } = rig.scan();
    expect(work).toEqual([
      ...['.', 'a', 'x.tmp', 'a/.tidemarkignore', 'a/b', 'a/keep', 'a/b/out', 'a/b/out/z'],
    ]);
    expect(rig.scan().work).toEqual([]);
  });

  it('changes of it take effect at the next scan: left out is gone, taken in is new', () => {
    const rig = useRig();
    write(rig, { 'a/f': '', 'a/g': '' });
    rig.scan();
    write(rig, { '.tidemarkignore': 'a/f\n' });
    expect(rig.scan().gone).toEqual(['a/f']);
    rmSync(rig.path('.tidemarkignore'));
    expect(rig.scan()).toMatchObject({ gone: ['.tidemarkignore'], work: ['.', 'a/f'] });
    rig.expectBackupIsTree();
  });

  it('the command line has the last word', () => {
    const rig = useRig();
    write(rig, { '.tidemarkignore': '*.log\n', 'a.log': '', 'b.log': '', c: '' });
    const { work } = rig.scan({ excludes: new ExcludeRules(['!a.log', 'c']) });
    expect(work).toEqual(['.', '.tidemarkignore', 'a.log']);
  });

  it('one that is a link, a folder, too large or unreadable leaves nothing out, and is named', () => {
    const rig = useRig();
    write(rig, { 'large/.tidemarkignore': `f\n${'#'.repeat(1024 * 1024)}`, 'large/f': '', 'link/f': '' });
    write(rig, { 'dir/.tidemarkignore/x': '', 'dir/f': '', patterns: 'f\n' });
    symlinkSync('../patterns', rig.path('link/.tidemarkignore'));
    const named = ['dir', 'large', 'link'];
    if (!isRoot) {
      write(rig, { 'shut/.tidemarkignore': 'f\n', 'shut/f': '' });
      chmodSync(rig.path('shut/.tidemarkignore'), 0);
      named.push('shut');
    }
    const { work, notes } = rig.scan();
    expect(notes).toEqual(named.map((dir) => `1118 ${dir}/.tidemarkignore`));
    for (const dir of named) expect(work).toContain(`${dir}/f`);
  });

  it('is as git takes .gitignore', (context) => {
    const hasGit = spawnSync('git', ['--version']).status === 0;
    if (!hasGit) context.skip('git is not installed');
    const name = fc.constantFrom('a', 'b', 'c.o', 'd d', '#e', '!f', '[g]');
    const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join('/'));
    const glob = fc.constantFrom(
      '*',
      '*.o',
      '?',
      '**',
      '**/b',
      'a/**',
      '\\#e',
      '\\!f',
      '[ab]',
      'd\\ d',
      '[!a]',
    );
    const pattern = fc
      .tuple(fc.boolean(), fc.boolean(), fc.oneof(path, glob), fc.boolean())
      .map(([not, top, body, dir]) => `${not ? '!' : ''}${top ? '/' : ''}${body}${dir ? '/' : ''}`);
    const file = fc.array(pattern, { minLength: 1, maxLength: 4 }).map((lines) => `${lines.join('\n')}\n`);
    const placed = fc.tuple(fc.oneof(fc.constant('.'), path), file);
    fc.assert(
      fc.property(
        fc.uniqueArray(path, { minLength: 1, maxLength: 12 }),
        fc.array(placed, { maxLength: 3 }),
        (paths, files) => {
          const rig = useRig();
          const made = paths.map((one) => `${one}/leaf`).filter((one) => tryWriting(rig, one, ''));
          for (const [dir, content] of files) tryWriting(rig, join(dir, '.tidemarkignore'), content);
          const found = rig.scan().work.filter((one) => made.includes(one));
          expect(found.sort()).toEqual(keptByGit(rig, made).sort());
        },
      ),
      { numRuns: 60 },
    );
  });
});

function tryWriting(rig: Rig, path: string, content: string): boolean {
  try {
    write(rig, { [path]: content });
    return true;
  } catch {
    return false; // a file where a folder would have to be
  }
}

function keptByGit(rig: Rig, paths: readonly string[]): string[] {
  const gitDir = join(rig.home, 'git');
  execFileSync('git', ['init', '-q', '--bare', gitDir]);
  const list = ['ls-files', '-z', '--others', '--exclude-per-directory=.tidemarkignore'];
  const printed = execFileSync('git', [`--git-dir=${gitDir}`, `--work-tree=${rig.tree}`, ...list], {
    cwd: rig.tree,
    encoding: 'utf8',
  });
  return printed.split('\0').filter((one) => paths.includes(one));
}

describe('CACHEDIR.TAG', () => {
  it('a tagged folder is in the backup with its tag only, and is named', () => {
    const rig = useRig();
    write(rig, { 'c/CACHEDIR.TAG': TAG, 'c/f': '', 'c/d/g': '', other: '' });
    expect(rig.scan()).toMatchObject({
      work: ['.', 'c', 'other', 'c/CACHEDIR.TAG'],
      notes: ['1117 c/CACHEDIR.TAG'],
    });
    rmSync(rig.path('c/CACHEDIR.TAG'));
    expect(rig.scan().work).toEqual(['c', 'c/d', 'c/f', 'c/d/g']);
    write(rig, { 'c/CACHEDIR.TAG': TAG });
    expect(rig.scan().gone).toEqual(['c/d', 'c/f', 'c/d/g']);
  });

  it('a pattern with ! takes it back in', () => {
    const rig = useRig();
    write(rig, { 'c/CACHEDIR.TAG': TAG, 'c/f': '' });
    const found = rig.scan({ excludes: new ExcludeRules(['!/c/']) });
    expect(found).toMatchObject({ work: ['.', 'c', 'c/CACHEDIR.TAG', 'c/f'], notes: [] });
  });

  it('without the signature, as a link, or at the root it says nothing', () => {
    const rig = useRig();
    write(rig, {
      'c/CACHEDIR.TAG': 'signature',
      'c/f': '',
      'CACHEDIR.TAG': TAG,
      'l/f': '',
      'd/CACHEDIR.TAG/f': '',
    });
    symlinkSync('../CACHEDIR.TAG', rig.path('l/CACHEDIR.TAG'));
    expect(rig.scan().notes).toEqual([]);
    rig.expectBackupIsTree();
  });
});
