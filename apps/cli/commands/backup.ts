import type { Resumed } from '../../../libs/collect/known-entries.ts';
import { type BackupRequest, backup as runBackup } from '../../../libs/embedded/backup.ts';
import type { BackupInfo } from '../../../libs/model/backup.ts';
import { TmError } from '../../../libs/model/errors.ts';
import { summaryFields, summaryText, type Told } from '../backup-summary.ts';
import { type Context, withEngine } from '../context.ts';
import { type ExcludeOptions, patternsOf } from '../exclude-patterns.ts';
import { formatBytes, type Output } from '../output.ts';
import { preview } from '../preview.ts';
import { ProgressLine } from '../progress.ts';
import { parseTags } from '../tags.ts';

interface Options extends ExcludeOptions {
  readonly full?: boolean;
  readonly differential?: boolean;
  readonly tag?: string[];
  readonly oneFileSystem?: boolean;
  readonly acceptRoot?: boolean;
  readonly dryRun?: boolean;
}

export async function backup(context: Context, [dir]: string[], options: Options): Promise<number> {
  const { output, signal } = context;
  const started = performance.now();
  const tags = parseTags(options.tag ?? []);
  const line = new ProgressLine(output, () => performance.now());
  const request: BackupRequest = {
    dir: dir!,
    kind: options.full ? 'full' : options.differential ? 'differential' : undefined,
    tags,
    excludes: patternsOf(options),
    oneFileSystem: options.oneFileSystem === true,
    acceptRoot: options.acceptRoot === true,
    threads: context.settings.threads,
    compression: context.settings.compression,
    onProblem: (problem) => output.problem(problem.code, problem.dir, problem.name, problem.message),
    onResumed: (resumed) => tellResumed(output, resumed),
    onProgress: ({ newBytes, ...done }) => line.show(done, { newBytes }),
    signal,
  };
  const secondsSince = () => Number(((performance.now() - started) / 1000).toFixed(3));
  if (context.settings.server) {
    if (options.dryRun)
      throw new TmError(
        'TM1001',
        '--dry-run works on a registry at hand: leave --server (TIDEMARK_SERVER) out',
      );
    const { serverBackup } = await import('../server-backup.ts');
    const { backup: made, baseline } = await serverBackup(context, request);
    return tell(context, made, baseline, secondsSince());
  }
  if (options.dryRun) return preview(context, request, secondsSince);
  const { askedWatch } = await import('../asked-watch.ts');
  const asked = await askedWatch(context, request);
  if (asked) return tell(context, asked, asked.baseline, secondsSince());
  return withEngine(context, true, async (engine) => {
    const info = await runBackup(engine, request);
    const seconds = secondsSince();
    const baseline = await baselineLabel(info, (seq) =>
      engine.registry.backups.at(info.sourceId, seq).then((one) => one?.label),
    );
    return tell(context, info, baseline, seconds);
  });
}

function tellResumed(output: Output, { files, bytes }: Resumed): void {
  if (output.json) output.line({ type: 'resumed', files, bytes }, () => '');
  else output.status(`${files} files (${formatBytes(bytes)}) were read by a backup that did not finish`);
}

/** The summary, and the exit code. */
function tell({ output }: Context, info: Told, baseline: string | null, seconds: number): number {
  const { counts } = info;
  output.line({ type: 'summary', ...summaryFields(info, baseline), seconds }, () =>
    summaryText(info, seconds),
  );
  return counts && counts.problems > 0 ? 3 : 0;
}

async function baselineLabel(
  info: BackupInfo,
  labelOf: (seq: number) => Promise<string | undefined>,
): Promise<string | null> {
  return info.kind === 'full' ? null : ((await labelOf(info.baselineSeq)) ?? null);
}
