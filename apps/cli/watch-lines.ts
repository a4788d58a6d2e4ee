import { TmError } from '../../libs/model/errors.ts';
import type { CommitReason, Committed, MonitorEvents } from '../../libs/monitor/port.ts';
import { summaryFields } from './backup-summary.ts';
import { formatBytes, formatDuration } from './display.ts';
import { type Output, rootToDisplay, rootToJson } from './output.ts';

const WHY: Record<CommitReason, string> = {
  reconcile: 'after a look at the whole folder',
  changes: 'changes',
  request: 'asked for',
};

/** What `watch` prints of the folders that it watches. */
export class WatchLines {
  readonly #output: Output;
  commits = 0;

  constructor(output: Output) {
    this.#output = output;
  }

  eventsOf(root: Buffer): MonitorEvents {
    const output = this.#output;
    const source = rootToJson(root);
    const shown = rootToDisplay(root);
    return {
      watching: (by, reason) =>
        output.line({ type: 'watching', source, by, reason }, () => `Watching ${shown} by ${by}: ${reason}.`),
      committed: (made, why, gaps) => {
        this.commits++;
        const { backup, baseline } = made;
        output.line({ type: 'commit', ...summaryFields(backup, baseline), source, reason: why, gaps }, () =>
          commitText(made, why, gaps),
        );
      },
      gap: ({ gap, reason }, state) =>
        output.line(
          { type: 'gap', source, gap, reason, state },
          () => `${shown}: gap ${gap} ${state} (${reason})`,
        ),
      recoveryPoint: (isPassed, ageMs) => {
        const state = isPassed ? 'exceeded' : 'recovered';
        const ageSeconds = ageMs / 1000;
        output.line({ type: 'recovery-point', source, state, ageSeconds }, () =>
          isPassed
            ? `${shown}: a change is ${formatDuration(ageSeconds)} old and in no backup yet, past the policy's limit`
            : `${shown}: all changes are young enough again`,
        );
      },
      problem: ({ code, dir, name, message }) => output.problem(code, dir, name, message),
      failed: (error) => void output.error(named(error, shown)),
    };
  }
}

function commitText(
  { backup: { label, counts: c } }: Committed,
  why: CommitReason,
  gaps: readonly string[],
): string {
  const open = gaps.length > 0 ? `; open gaps: ${gaps.join(', ')}` : '';
  const what = c
    ? `${c.added} added, ${c.changed} changed, ${c.metadata} metadata only, ${c.deleted} deleted, ${formatBytes(c.newBytes)} new`
    : '';
  return `${label}  ${what} (${WHY[why]}${open})`;
}

/** Of several folders it has to be said which one. */
function named(error: unknown, shown: string): unknown {
  if (!(error instanceof TmError) || error.message.includes(shown)) return error;
  return new TmError(error.code, `${shown}: ${error.message}`, { path: error.path, cause: error.cause });
}
