/**
 * The inner loops by themselves, so that a regression shows where it is: `npm run bench -- --micro [WORD…]` runs the cases
 * whose name holds one of the words. CPU of this process (without Postgres'), best of several runs: on a busy machine too
 * it is the number that comes nearest to the work.
 */
import type { MicroCase, Prepared } from './micro/case.ts';
import { CASES } from './micro/cases.ts';

const ROUNDS = 7;

interface Measured {
  readonly units: number;
  readonly cpuMs: number;
  readonly wallMs: number;
}

async function once(prepared: Prepared): Promise<Measured> {
  const [cpu, start] = [process.cpuUsage(), performance.now()];
  const units = await prepared.run();
  const { user, system } = process.cpuUsage(cpu);
  return { units, cpuMs: (user + system) / 1000, wallMs: performance.now() - start };
}

async function best({ prepare }: MicroCase): Promise<Measured> {
  const prepared = await prepare(1);
  try {
    let least = await once(prepared);
    for (let round = 1; round < ROUNDS; round++) {
      const one = await once(prepared);
      if (one.cpuMs < least.cpuMs) least = one;
    }
    prepared.check();
    return least;
  } finally {
    await prepared.close?.();
  }
}

const rate = (units: number, ms: number, unit: MicroCase['unit']): string =>
  unit === 'byte'
    ? `${Math.round(units / 1000 / ms)} MB/s`
    : `${Math.round((ms * 1_000_000) / units).toLocaleString('en')} ns/${unit}`;

const words = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
process.stdout.write('| case | by CPU | by wall |\n|---|---|---|\n');
for (const one of CASES) {
  if (words.length > 0 && !words.some((word) => one.name.includes(word))) continue;
  const { units, cpuMs, wallMs } = await best(one);
  process.stdout.write(
    `| ${one.name} | ${rate(units, cpuMs, one.unit)} | ${rate(units, wallMs, one.unit)} |\n`,
  );
}
