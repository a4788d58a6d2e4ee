import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { controlRoutes } from './control.ts';
import { bytesOfJson, jsonPath, pathFromQuery, pathToQuery } from './wire.ts';

const routes = Object.values(controlRoutes);

test('no two routes are the same, and all but enrolment name who may call them', () => {
  const names = routes.map(({ method, path }) => `${method} ${path.replace(/:\w+/g, ':')}`);
  expect(new Set(names).size).toBe(names.length);
  for (const { roles } of routes) expect(roles.length).toBeGreaterThan(0);
});

test('every parameter of a path has its schema', () => {
  for (const { path, params } of routes) {
    const named = [...path.matchAll(/:(\w+)/g)].map(([, name]) => name);
    const shape = params && 'shape' in params ? Object.keys(params.shape as object) : [];
    expect(shape.toSorted(), path).toEqual(named.toSorted());
  }
});

test('the routes are those of the plan', () => {
  const plan = readFileSync(new URL('../../../docs/decisions/010-services.md', import.meta.url), 'utf8');
  for (const { path } of routes) {
    const collection = path.replace(/^\/v1/, '').replace(/\/(sign-off|done|failed|heartbeat)$/, '');
    expect(plan, path).toContain(collection.split('/:')[0]);
  }
});

test('paths that are no text survive queries and JSON', () => {
  const bytes = Buffer.from([0x61, 0xff, 0x2f, 0x00, 0x80]);
  expect(pathFromQuery(pathToQuery(bytes))).toEqual(bytes);
  expect(bytesOfJson(jsonPath.parse({ base64: bytes.toString('base64') }))).toEqual(bytes);
  expect(bytesOfJson(jsonPath.parse('ä/b'))).toEqual(Buffer.from('ä/b'));
});
