import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const PROCESS = join(import.meta.dirname, '../../test/read/pools-process.ts');

/** In a process of its own: what goes wrong here ends it. */
test('pools whose threads have only just begun are closed, at whatever moment of their start', () => {
  const flags = ['--disable-warning=ExperimentalWarning'];
  const out = execFileSync(process.execPath, [...flags, PROCESS, '120'], { encoding: 'utf8' });
  expect(out).toBe('120 pools\n');
}, 120_000);
