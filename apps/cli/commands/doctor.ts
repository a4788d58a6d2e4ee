import type { Status } from '../../../libs/doctor/finding.ts';
import { examine } from '../compose-doctor.ts';
import type { Context } from '../context.ts';
import { messageToDisplay } from '../display.ts';

const MARKS: Readonly<Record<Status, string>> = { ok: 'ok     ', warning: 'warning', failed: 'FAILED ' };

export async function doctor({ settings, output }: Context, [dir]: string[]): Promise<number> {
  const counts = { ok: 0, warning: 0, failed: 0 };
  for await (const { name, status, message, guidance } of examine(settings, process.env, dir)) {
    counts[status]++;
    output.line({ type: 'check', name, status, message, guidance }, () => {
      const remedy = guidance === undefined ? '' : `\n         ${messageToDisplay(guidance)}`;
      return `${MARKS[status]}  ${name}: ${messageToDisplay(message)}${remedy}`;
    });
  }
  const { ok, warning, failed } = counts;
  const verdict =
    failed > 0 ? 'something does not work' : warning > 0 ? 'works; see the warnings' : 'all is well';
  output.line({ type: 'summary', ok, warnings: warning, failed }, () => `Doctor: ${verdict}.`);
  return failed > 0 ? 1 : 0;
}
