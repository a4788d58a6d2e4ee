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
