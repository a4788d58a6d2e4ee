import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GapLedger } from '../../libs/watch/ledger.ts';
import { Rig } from '../cli/rig.ts';

let rig: Rig;
let source: string;
/** Of `source`. */
let ledgerFile: string;
/** 24 November, so many minutes after midnight, UTC. */
const at = (minutes: number): number => Date.UTC(2026, 10, 24) + minutes * 60_000;
const iso = (minutes: number): string => new Date(at(minutes)).toISOString();
const PERIOD = ['--from', iso(0), '--to', iso(100)];

const jsonOf = (...args: string[]) => rig.json(args);

beforeAll(() => {
  rig = new Rig('coverage');
  source = rig.folder('source');
  writeFileSync(join(source, 'file'), 'x');
  expect(rig.run(['backup', source]).status).toBe(0);
  const [state] = readdirSync(join(rig.home, 'agent')).filter((name) => name.endsWith('.state'));
  ledgerFile = join(rig.home, 'agent', state!.replace('.state', '.ledger'));
  expect(rig.run(['backup', rig.folder('never watched')]).status).toBe(0);
});
afterAll(() => rig.dispose());

test('without any watch there is nothing to tell, and a folder that nobody backed up is not known', () => {
  const { status, lines } = jsonOf('coverage', ...PERIOD);
  expect({ status, lines }).toMatchObject({ status: 0, lines: [{ type: 'summary', sources: 0, gaps: 0 }] });
  expect(jsonOf('coverage', source, ...PERIOD).lines[0]).toMatchObject({ unwatched: 6000, share: 0 });
  expect(jsonOf('coverage', rig.path('elsewhere'))).toMatchObject({
    status: 10,
    lines: [{ code: 'TM1703' }],
  });
  for (const wrong of [
    ['--from', 'soon'],
    ['--from', iso(10), '--to', iso(10)],
  ])
    expect(jsonOf('coverage', ...wrong)).toMatchObject({ status: 2, lines: [{ code: 'TM1002' }] });
});

test('what was watched, gaps with reason and end, and what nobody watched; also while a watch holds the ledger', () => {
  const ledger = GapLedger.open(ledgerFile, at(10));
  ledger.started(at(10));
  ledger.alive(at(30));
  const overflow = ledger.openGap('overflow', at(30));
  ledger.reconciled([overflow], at(32), at(33), '20261124T003200Z-F');
  ledger.stopped(at(60));
  const { status, lines } = jsonOf('coverage', ...PERIOD);
  ledger.close();
  expect(status).toBe(0);
  const gap = { gap: 1, reason: 'overflow', opened: iso(30), closed: iso(33), by: '20261124T003200Z-F' };
  const down = { gap: 2, reason: 'agent-down', opened: iso(60), closed: null, by: null };
  expect(lines).toMatchObject([
    {
      type: 'coverage',
      source,
      watched: 48 * 60,
      gap: 42 * 60,
      unwatched: 10 * 60,
      share: 0.48,
      knownFrom: null,
    },
    { type: 'span', kind: 'unwatched', from: iso(0), to: iso(10), gaps: [] },
    { type: 'span', kind: 'watched', from: iso(10), to: iso(30), gaps: [] },
    { type: 'span', kind: 'gap', from: iso(30), to: iso(32), gaps: [gap] },
    { type: 'span', kind: 'watched', from: iso(32), to: iso(60), gaps: [] },
    { type: 'span', kind: 'gap', from: iso(60), to: iso(100), gaps: [down] },
    { type: 'summary', sources: 1, gaps: 2, openGaps: 1 },
  ]);
  const { stdout } = rig.run(['coverage', source, ...PERIOD]);
  expect(stdout).toContain('watched 48.0 % of 1:40 h, 42:00 min in gaps');
  expect(stdout).toMatch(
    /00:30:00 {2}\S+ 00:32:00 UTC .* gap 1: more changed at once .*; closed .* by 20261124T003200Z-F/,
  );
  expect(stdout).toMatch(/gap 2: nobody watched; still open\n2 gaps, 1 of them open\.\n$/);
});

test('what is forgotten is not known: neither watched nor a gap', () => {
  const later = at(0) + 402 * 24 * 3_600_000;
  const ledger = GapLedger.open(ledgerFile, later);
  ledger.close();
  const { lines } = jsonOf('coverage', source, ...PERIOD);
  const down = { gap: 2, reason: 'agent-down', opened: iso(60), closed: null, by: null };
  expect(lines).toMatchObject([
    {
      type: 'coverage',
      watched: 0,
      gap: 40 * 60,
      unwatched: 0,
      unknown: 60 * 60,
      share: 0,
      knownFrom: iso(60),
    },
    { type: 'span', kind: 'unknown', from: iso(0), to: iso(60), gaps: [] },
    { type: 'span', kind: 'gap', from: iso(60), to: iso(100), gaps: [down] },
    { type: 'summary', sources: 1, gaps: 1, openGaps: 1 },
  ]);
  const { stdout } = rig.run(['coverage', source, ...PERIOD]);
  expect(stdout).toContain('watched 0.0 % of 1:40 h, 40:00 min in gaps, 1:00 h not known any more');
  expect(stdout).toContain('not known before 2026-11-24 01:00:00: forgotten\n');
});

test('doctor says of each folder with backups, or of the one asked about, how it would be watched', () => {
  const watchOf = (...args: string[]) => {
    const { status, lines } = jsonOf('doctor', ...args);
    expect(status).toBe(0);
    return lines.filter(({ name }) => name === 'watch').map(({ message }) => message);
  };
  const how = / would be watched by (fanotify|inotify|poll): /;
  expect(watchOf()).toEqual([source, rig.path('never watched')].map(() => expect.stringMatching(how)));
  expect(watchOf()[0]).toContain(source);
  expect(watchOf(rig.folder('new'))).toEqual([expect.stringMatching(how)]);
  expect(watchOf(rig.path('nowhere'))[0]).toContain("can't be watched now");
  rmSync(source, { recursive: true });
  expect(jsonOf('doctor').lines).toContainEqual(
    expect.objectContaining({ name: 'watch', status: 'warning', guidance: expect.stringContaining('Mount') }),
  );
});
