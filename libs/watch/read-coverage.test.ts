import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { Coverage } from './coverage.ts';
import { GapLedger } from './ledger.ts';
import { readCoverage } from './read-coverage.ts';

function file(): string {
  const home = mkdtempSync(join(tmpdir(), 'coverage-'));
  onTestFinished(() => rmSync(home, { recursive: true }));
  return join(home, 'ledger');
}

const spans = (coverage: Coverage | undefined, to: number): string[] | undefined =>
  coverage
    ?.spans(0, to, to)
    .map(({ from, to: end, kind, gaps }) =>
      [`${from}-${end}`, kind, ...gaps.map((gap) => gap.reason)].join(' '),
    );

test('there is nothing to say where nobody ever watched', () => {
  expect(readCoverage(file(), 0)).toBeUndefined();
});

test('a ledger that another one is writing is read as it stands, and not touched', () => {
  const path = file();
  const ledger = GapLedger.open(path, 0);
  ledger.started(100);
  const gap = ledger.openGap('overflow', 200);
  ledger.reconciled([gap], 300, 310, '20261124T000000Z-F');
  ledger.alive(50_000);
  appendFileSync(path, '12345678 {"type":"ali'); // it is about to write a line
  const before = readFileSync(path);
  const coverage = readCoverage(path, 130_000);
  expect(spans(coverage, 130_000)).toEqual([
    '0-100 unwatched',
    '100-200 watched',
    '200-300 gap overflow',
    '300-130000 watched',
  ]);
  expect(coverage?.gaps).toEqual([
    { gap, reason: 'overflow', from: 200, to: 300, closedAt: 310, closedBy: '20261124T000000Z-F' },
  ]);
  expect(readFileSync(path)).toEqual(before);
  ledger.close();
});

test('a watch of which there was no sign for long ended with the last one, as who opens it next will say', () => {
  const path = file();
  const ledger = GapLedger.open(path, 0);
  ledger.started(100);
  ledger.alive(1000);
  ledger.close(); // without a word, as after SIGKILL
  expect(spans(readCoverage(path, 91_000), 91_000)).toEqual(['0-100 unwatched', '100-91000 watched']);
  const killed = ['0-100 unwatched', '100-1000 watched', '1000-91001 gap agent-down'];
  expect(spans(readCoverage(path, 91_001), 91_001)).toEqual(killed);
  const next = GapLedger.open(path, 91_001);
  next.close();
  expect(spans(readCoverage(path, 91_001), 91_001)).toEqual(killed);
});

test('damaged lines are a gap from the first record on', () => {
  const path = file();
  const ledger = GapLedger.open(path, 0);
  ledger.started(100);
  appendFileSync(path, 'nothing that was written\n');
  ledger.stopped(200);
  ledger.close();
  expect(readCoverage(path, 300)?.openGaps).toEqual([
    { gap: 1, reason: 'agent-down', from: 200 },
    { gap: 2, reason: 'ledger-damaged', from: 100 },
  ]);
});
