import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { afterAll, beforeAll, test } from '../needs.ts';
import { RetainRig } from './rig.suite.ts';

let rig: RetainRig;
let labels: string[];
let times: Date[];

beforeAll(() => {
  rig = new RetainRig('look-up');
  mkdirSync(join(rig.source, 'docs'));
  const put = (name: string, text: string) => writeFileSync(join(rig.source, name), text);
  put('docs/old.txt', 'one');
  put('docs/stays.txt', 'one');
  put('100%_sure', 'one');
  const first = rig.backup('--tag', 'a=1');
  rmSync(join(rig.source, 'docs/old.txt'));
  put('docs/stays.txt', 'two');
  put('docs/new.txt', 'two');
  const second = rig.backup();
  rmSync(join(rig.source, 'docs/new.txt'));
  put('docs/again.txt', 'three');
  const third = rig.backup();
  mkdirSync(join(rig.base, 'at'));
  labels = [first, second, third];
  times = rig.ok('backups').lines.map((line) => new Date(line.time as string));
});
afterAll(() => rig.close());

const at = (time: string) => rig.run('restore', '--at', time, '--to', join(rig.base, 'at'), '--dry-run');

test('restore --at gives the newest backup committed until then', () => {
  expect(at(new Date(times[0]!.getTime() - 1).toISOString())).toMatchObject({
    status: 10,
    last: { code: 'TM1701' },
  });
  expect(at(times[0]!.toISOString()).last).toMatchObject({ type: 'summary', label: labels[0] });
  expect(at(new Date(times[2]!.getTime() - 1).toISOString()).last).toMatchObject({ label: labels[1] });
  expect(at(times[2]!.toISOString()).last).toMatchObject({ label: labels[2] });
  expect(at('2100-01-01').last).toMatchObject({ label: labels[2] });
});

test('restore --at takes local time, and refuses what is none', () => {
  const local = (time: Date) => {
    const two = (n: number) => String(n).padStart(2, '0');
    return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${String(time.getMilliseconds()).padStart(3, '0')}`;
  };
  expect(at(local(times[1]!)).last).toMatchObject({ label: labels[1] });
  for (const time of ['yesterday', '2026-02-30', '1'])
    expect(at(time)).toMatchObject({ status: 2, last: { code: 'TM1002' } });
});

test("backups are dated by the registry's clock, also where the process has a wrong one", () => {
  const skew = join(rig.base, 'skew.mjs');
  writeFileSync(
    skew,
    `const Real = Date;
    globalThis.Date = class extends Real {
      constructor(...args) { if (args.length > 0) super(...args); else super(Real.now() - 1e11); }
      static now() { return Real.now() - 1e11; }
    };`,
  );
  const from = Date.now();
  rig.env.NODE_OPTIONS = `--import=${skew}`;
  const label = rig.ok('backup', rig.source, '--tag', 'skewed=1').last.label!;
  rig.env.NODE_OPTIONS = '';
  const made = rig.ok('backups').lines.at(-1)!;
  expect(made.label).toBe(label);
  expect(Math.abs(new Date(made.time as string).getTime() - from)).toBeLessThan(60_000);
  expect(label.split('_').at(-1)!.slice(0, 6)).toBe(
    new Date(from).toISOString().slice(0, 7).replace('-', ''),
  );
  labels.push(label);
});

test('find searches all backups: each path once, with the newest that holds it', () => {
  const found = (pattern: string) =>
    rig.ok('find', pattern).lines.map(({ path, label, deleted }) => [path, labels.indexOf(label!), deleted]);
  expect(found('*.txt')).toEqual([
    ['docs/again.txt', 3, false],
    ['docs/new.txt', 1, true],
    ['docs/old.txt', 0, true],
    ['docs/stays.txt', 3, false],
  ]);
  expect(found('docs/n*')).toEqual([['docs/new.txt', 1, true]]);
  expect(found('new.tx?')).toEqual([['docs/new.txt', 1, true]]);
  expect(found('100%_*')).toEqual([['100%_sure', 3, false]]);
  expect(found('100%*sur_')).toEqual([]);
  expect(found('nothing-like-it')).toEqual([]);
  expect(rig.ok('find', 'old.txt').last).toMatchObject({ type: 'found', source: rig.source });
  expect(rig.ok('cat', labels[0]!, 'docs/old.txt').text).toBe('one');
});

test('pins and tags survive, show in backups, and are undone', () => {
  const marks = () => rig.ok('backups').lines.map(({ pinned, tags }) => [pinned, tags]);
  expect(rig.ok('pin', labels[1]!).last).toMatchObject({ type: 'summary', label: labels[1], pinned: true });
  rig.ok('tag', labels[0]!, 'b=2', 'c=x=y', '__proto__=p');
  rig.ok('tag', labels[0]!, 'b=');
  const tags = JSON.parse('{"a":"1","c":"x=y","__proto__":"p"}');
  const expected = [
    [false, tags],
    [true, {}],
    [false, {}],
    [false, { skewed: '1' }],
  ];
  expect(JSON.stringify(marks().map(([pinned, own]) => [pinned, Object.entries(own as object).sort()]))).toBe(
    JSON.stringify(expected.map(([pinned, own]) => [pinned, Object.entries(own as object).sort()])),
  );
  rig.ok('expire', '--keep-last', '2');
  expect(rig.labels()).toEqual(labels); // the full is the baseline of both
  rig.ok('pin', labels[1]!, '--off');
  rig.ok('expire', '--keep-last', '1');
  expect(rig.labels()).toEqual([labels[0], labels[3]]);
  expect(rig.run('pin', labels[1]!)).toMatchObject({ status: 10, last: { code: 'TM1701' } });
  expect(rig.run('tag', labels[1]!, 'a=1')).toMatchObject({ status: 10, last: { code: 'TM1701' } });
});
