import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Rig } from './rig.ts';

let rig: Rig;
let source: string;

beforeAll(() => {
  rig = new Rig('exclude-from');
  source = rig.folder('source');
  for (const name of ['a.tmp', 'b.log', 'c', 'd']) writeFileSync(`${source}/${name}`, name);
  writeFileSync(rig.path('one'), '# a comment\n*.tmp\n*.log\n!b.log\n');
  writeFileSync(rig.path('two'), Buffer.from([0xff, 0x0a, 0x63, 0x0a]));
});

afterAll(() => rig.dispose());

test('patterns of files and of the command line leave out what they name', { timeout: 60_000 }, () => {
  const from = ['--exclude-from', rig.path('one'), '--exclude-from', rig.path('two')];
  expect(rig.json(['backup', source, ...from, '--exclude', 'd'])).toMatchObject({
    status: 0,
    last: { files: 1 },
  });
  const { lines } = rig.json(['ls', 'latest']);
  expect(lines.filter(({ kind }) => kind === 'file').map(({ path }) => path)).toEqual(['b.log']);
});

test('a file of patterns that is not there is named', { timeout: 60_000 }, () => {
  const { status, last } = rig.json(['backup', source, '--exclude-from', rig.path('nowhere')]);
  expect({ status, code: last.code }).toEqual({ status: 2, code: 'TM1002' });
  expect(last.message).toContain(rig.path('nowhere'));
});
