import fc from 'fast-check';
import { expect, test } from 'vitest';
import { findPattern } from './find-pattern.ts';
import { fromSlashes } from './tree-path.ts';

const matching = (pattern: string, paths: (string | Buffer)[]) =>
  paths.filter((path) => findPattern(pattern).matches(fromSlashes(path)));

test('a pattern without a slash is for names, wherever they are', () => {
  const paths = ['a.txt', 'docs/a.txt', 'docs/a.txt.old', 'a.txt/b', 'docs/größe', 'docs/a+b'];
  expect(matching('a.txt', paths)).toEqual(['a.txt', 'docs/a.txt']);
  expect(matching('*.txt*', paths)).toEqual(['a.txt', 'docs/a.txt', 'docs/a.txt.old']);
  expect(matching('gr??e', paths)).toEqual(['docs/größe']);
  expect(matching('a+b', paths)).toEqual(['docs/a+b']);
  expect(matching('A.TXT', paths)).toEqual([]);
});

test('a pattern with a slash is for the whole path', () => {
  const paths = ['a.txt', 'docs/a.txt', 'docs/old/a.txt', 'x/docs/a.txt'];
  expect(matching('docs/*.txt', paths)).toEqual(['docs/a.txt']);
  expect(matching('/a.txt', paths)).toEqual(['a.txt']);
  expect(matching('docs/**', paths)).toEqual(['docs/a.txt', 'docs/old/a.txt']);
  expect(matching('**/a.txt', paths)).toEqual(['docs/a.txt', 'docs/old/a.txt', 'x/docs/a.txt']);
});

test('names that are not UTF-8 are matched by bytes', () => {
  const path = Buffer.from([0x61, 0xff, 0xfe, 0x80]);
  expect(matching('a*', [path])).toEqual([path]);
  expect(matching('a???', [path])).toEqual([path]);
  expect(matching('a??', [path])).toEqual([]);
});

/** LIKE as Postgres has it for bytea. */
function like(pattern: Buffer, name: Buffer): boolean {
  const source = pattern
    .toString('latin1')
    .replace(/\\(.)|([%_])|([^\\%_])/gs, (_, escaped, wild, plain) =>
      wild === '%' ? '[^]*' : wild ? '[^]' : (escaped ?? plain).replace(/[\\^$.|+()[\]{}*?/]/g, '\\$&'),
    );
  return new RegExp(`^${source}$`).test(name.toString('latin1'));
}

test('whatever matches fits the LIKE pattern too', () => {
  const part = fc.constantFrom('a', 'b', 'ö', '%', '_', '\\', '.');
  const name = fc
    .array(part, { minLength: 1, maxLength: 4 })
    .map((parts) => parts.join(''))
    .filter((one) => one !== '.' && one !== '..');
  const patternPart = fc.constantFrom('a', 'b', 'ö', '%', '_', '\\', '.', '*', '**', '?', '/');
  fc.assert(
    fc.property(
      fc.array(patternPart, { maxLength: 7 }).map((parts) => parts.join('')),
      fc.array(name, { minLength: 1, maxLength: 3 }),
      (pattern, names) => {
        const { matches, nameLike } = findPattern(pattern);
        if (!matches(fromSlashes(names.join('/')))) return;
        expect(like(nameLike, Buffer.from(names.at(-1)!))).toBe(true);
      },
    ),
    { numRuns: 3000 },
  );
});
