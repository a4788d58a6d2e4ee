import { expect, test } from 'vitest';
import { isPrefixOf, labelsFrom, makeLabel } from './label.ts';

const time = new Date('2026-11-23T10:15:00.123Z');
const FULL = '20261123T101500Z-F';

test('labels say what they depend on, and a collision gets a number', () => {
  expect(makeLabel('full', time, undefined)).toBe(FULL);
  expect(makeLabel('differential', time, FULL)).toBe(`${FULL}_20261123T101500Z-D`);
  expect(labelsFrom(FULL, 1, 3)).toEqual([FULL, `${FULL}.2`, `${FULL}.3`]);
  expect(labelsFrom(FULL, 9, 2)).toEqual([`${FULL}.9`, `${FULL}.10`]);
});

test('a part of a label is its prefix, a whole label is only itself', () => {
  const differential = `${FULL}_20261124T020000Z-D`;
  for (const text of ['', '2026', '20261123T101500Z', '20261123T101500Z-', `${FULL}_`, `${FULL}_2026`])
    expect(isPrefixOf(text, differential), text).toBe(true);
  expect(isPrefixOf(differential, differential)).toBe(true);
  expect(isPrefixOf(differential, `${differential}.2`)).toBe(false);
  expect(isPrefixOf(`${differential}.2`, `${differential}.21`)).toBe(false);
  expect(isPrefixOf(FULL, differential)).toBe(false);
  expect(isPrefixOf('2027', differential)).toBe(false);
});
