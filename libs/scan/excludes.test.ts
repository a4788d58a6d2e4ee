import { describe, expect, it } from 'vitest';
import { toText } from '../model/byte-text.ts';
import { ExcludeRules } from './excludes.ts';

const excluded = (patterns: (string | Buffer)[], path: string | Buffer, isDirectory = false): boolean =>
  new ExcludeRules(patterns).excludes(typeof path === 'string' ? path : toText(path), isDirectory);

describe('exclude rules', () => {
  it.each([
    ['*.o', 'a/b/x.o', true],
    ['/x', 'x', true],
    ['/x', 'a/x', false],
    ['a/**/z', 'a/b/c/z', true],
    ['node_modules', 'a/node_modules', true],
    ['?.txt', 'ä.txt', true],
    ['[äö].txt', 'ö.txt', true],
    ['*.TXT', 'a.txt', false],
    ['# comment', '# comment', false],
    ['\\#x', '#x', true],
  ])('%s and %s: %s', (pattern, path, expected) => {
    expect(excluded([pattern], path)).toBe(expected);
  });

  it('a pattern that ends with a slash is for directories only', () => {
    expect(excluded(['build/'], 'a/build', true)).toBe(true);
    expect(excluded(['build/'], 'a/build', false)).toBe(false);
  });

  it('the last pattern that matches decides', () => {
    expect(excluded(['*.log', '!keep.log'], 'keep.log')).toBe(false);
    expect(excluded([Buffer.from('*.log\n!keep.log\n\n')], 'other.log')).toBe(true);
  });

  it('takes bytes that are not UTF-8 as they are', () => {
    const name = Buffer.from([0x66, 0xff, 0x66]);
    expect(excluded([Buffer.concat([Buffer.from('/'), name])], name)).toBe(true);
    expect(excluded([Buffer.from([0x66, 0xfe, 0x66])], name)).toBe(false);
    expect(excluded(['f?f'], name)).toBe(true);
  });

  it('answers the same however many paths it is asked about', () => {
    const rules = new ExcludeRules(['*7']);
    for (let i = 0; i < 20_000; i++) {
      if (rules.excludes(`dir/${i}`, false) !== (i % 10 === 7)) expect.unreachable(String(i));
    }
  });
});

it('different bytes are different texts', () => {
  const texts = new Set<string>();
  for (let i = 0; i < 256; i++) for (let j = 0; j < 256; j++) texts.add(toText(Buffer.from([i, j])));
  expect(texts.size).toBe(65_536);
  expect(toText(Buffer.from('aä€😀'))).toBe('aä€😀');
  expect(toText(Buffer.from([0xed, 0xb2, 0x80]))).not.toBe(toText(Buffer.from([0x80])));
});

describe('rules of an ignore file', () => {
  const within = (directory: string, file: string, patterns: string[] = []): ExcludeRules =>
    new ExcludeRules(patterns).within(directory, Buffer.from(file));

  it.each([
    ['*.o', 'sub/x.o', true],
    ['*.o', 'sub/deep/x.o', true],
    ['*.o', 'x.o', false],
    ['/x', 'sub/x', true],
    ['/x', 'sub/deep/x', false],
    ['deep/x', 'sub/deep/x', true],
    ['deep/x', 'sub/a/deep/x', false],
    ['# no\n\nx  \n', 'sub/x', true],
    ['\\#x', 'sub/#x', true],
    ['x\r\ny\r\n', 'sub/y', true],
    ['x\\ ', 'sub/x ', true],
  ])('%j in sub, and %s: %s', (file, path, expected) => {
    expect(within('sub', file).excludes(path, false)).toBe(expected);
  });

  it('a directory’s name is taken as it is', () => {
    for (const directory of ['a*b', '[x]', '!a', '#a', 'a\\b', 'a b', ' a', 'a\nb', 'a?', '{a,b}', '(a|b)'])
      expect(within(directory, 'x').excludes(`${directory}/x`, false), directory).toBe(true);
    expect(within('a*b', 'x').excludes('aab/x', false)).toBe(false);
  });

  it('deeper files have the last word, the command line the very last', () => {
    const rules = within('', '*.log').within('sub', Buffer.from('!keep.log\n'));
    expect(rules.excludes('sub/keep.log', false)).toBe(false);
    expect(rules.excludes('sub/other.log', false)).toBe(true);
    expect(within('', '*.log', ['!a.log']).excludes('a.log', false)).toBe(false);
    expect(within('', '!a.log', ['*.log']).excludes('a.log', false)).toBe(true);
  });

  it('does not change the rules that it was added to', () => {
    const above = new ExcludeRules(['x']);
    above.within('sub', Buffer.from('y'));
    expect(above.excludes('sub/y', false)).toBe(false);
  });
});
