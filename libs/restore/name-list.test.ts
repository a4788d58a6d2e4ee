import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import * as posix from '../posix/index.ts';
import { NameList } from './name-list.ts';

const folder = mkdtempSync(join(tmpdir(), 'tidemark-names-'));
afterAll(() => rmSync(folder, { recursive: true }));

const name = fc
  .uint8Array({ minLength: 1, maxLength: 200 })
  .map((some) => Buffer.from(some))
  .filter((one) => !one.includes(0) && !one.includes(0x2f) && !['.', '..'].includes(one.toString()));

test('names are in order of their bytes, and compare like them', () => {
  let n = 0;
  fc.assert(
    fc.property(fc.uniqueArray(name, { maxLength: 40, selector: String }), name, (names, other) => {
      const path = Buffer.from(mkdtempSync(join(folder, `${n++}-`)));
      for (const one of names) writeFileSync(Buffer.concat([path, Buffer.from('/'), one]), '');
      const fd = posix.open(path, posix.O_RDONLY | posix.O_DIRECTORY);
      const list = new NameList(fd);
      posix.close(fd);
      const all = Array.from({ length: list.length }, (_, i) => list.at(i));
      expect(all).toEqual([...names].sort(Buffer.compare));
      for (const [i, one] of all.entries())
        expect(Math.sign(list.compare(i, other))).toBe(Buffer.compare(one, other));
    }),
    { numRuns: 40 },
  );
});
