import { writeFileSync } from 'node:fs';
import type { Reporter, TestModule } from 'vitest/node';

/**
 * Writes `passed failed skipped` to the file named by TIDEMARK_TALLY, for tools/npm-test, and lists what was
 * skipped. A module that broke without a failed test (import, hook, dead worker) and an error outside any test
 * count as one failed each.
 */
export default class TallyReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    let passed = 0;
    let failed = unhandledErrors.length;
    const skipped: string[] = [];
    for (const module of modules) {
      let failedHere = 0;
      for (const test of module.children.allTests()) {
        const result = test.result();
        if (result.state === 'passed') passed++;
        else if (result.state === 'failed') failedHere++;
        else {
          const reason = result.state === 'skipped' ? (result.note ?? 'no reason given') : 'did not finish';
          skipped.push(`${module.relativeModuleId} > ${test.fullName}: ${reason}`);
        }
      }
      failed += failedHere || (isWhole(module) ? 0 : 1);
    }
    for (const line of skipped) process.stdout.write(`skipped: ${line}\n`);
    writeFileSync(process.env.TIDEMARK_TALLY ?? '/dev/stdout', `${passed} ${failed} ${skipped.length}\n`);
  }
}

function isWhole(module: TestModule): boolean {
  return module.state() === 'passed' || module.state() === 'skipped';
}
