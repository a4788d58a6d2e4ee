import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { inSources } from './source-lines.ts';

test('places in files with a map are told as those of the sources; others stay', () => {
  const dir = mkdtempSync(join(tmpdir(), 'tidemark-lines-'));
  try {
    // Line 3 of the file, from its first column on, is line 2, from column 5 on, of the source.
    const map = { version: 3, sources: ['../libs/one.ts'], names: [], mappings: ';;AACI' };
    writeFileSync(join(dir, 'bundled.js.map'), JSON.stringify(map));
    const bundled = pathToFileURL(join(dir, 'bundled.js')).href;
    const plain = join(dir, 'bundled.js');
    const stack = `Error: x\n    at work (${bundled}:3:7)\n    at async ${plain}:3:7\n    at node:fs:1:2\n    at file:///no/map.js:1:2`;
    expect(inSources(stack).split('\n')).toEqual([
      'Error: x',
      `    at work (${join(dir, '../libs/one.ts')}:2:11)`,
      `    at async ${join(dir, '../libs/one.ts')}:2:11`,
      '    at node:fs:1:2',
      '    at file:///no/map.js:1:2',
    ]);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
