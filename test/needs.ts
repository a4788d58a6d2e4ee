import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import * as vitest from 'vitest';

/** Programs that end-to-end tests make trees with, and compare trees with independently of Tidemark's own reader. */
const PROGRAMS = ['python3', 'rsync'];

const missing = PROGRAMS.filter((program) => !isThere(program));
const reason = `needs ${missing.join(' and ')}, not found in PATH`;

function isThere(program: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

type Run = (context: vitest.TestContext) => unknown;
type Hook = (work: () => unknown, timeout?: number) => void;

/** Vitest's words for tests that need the programs: where one is missing, all of a file are skipped and say why. */
export function test(name: string, run: Run): void;
export function test(name: string, options: vitest.TestOptions, run: Run): void;
export function test(name: string, second: vitest.TestOptions | Run, third?: Run): void {
  const [options, run] = typeof second === 'function' ? [{}, second] : [second, third!];
  vitest.test(
    name,
    options,
    missing.length === 0 ? async (context) => void (await run(context)) : (context) => context.skip(reason),
  );
}

const hook =
  (register: Hook): Hook =>
  (work, timeout) => {
    if (missing.length === 0) register(async () => void (await work()), timeout);
  };

export const beforeAll: Hook = hook(vitest.beforeAll);
export const beforeEach: Hook = hook(vitest.beforeEach);
export const afterAll: Hook = hook(vitest.afterAll);
