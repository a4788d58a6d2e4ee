import { readFileSync } from 'node:fs';
import { type BackupRequest, backup as runBackup } from '../../../libs/embedded/backup.ts';
import type { BackupInfo } from '../../../libs/model/backup.ts';
import { fromText, toText } from '../../../libs/model/byte-text.ts';
import { TmError } from '../../../libs/model/errors.ts';
import { type Context, withEngine } from '../context.ts';
import { formatBytes } from '../output.ts';
import { preview } from '../preview.ts';
import { ProgressLine } from '../progress.ts';
import { parseTags } from '../tags.ts';

interface Options {
  readonly full?: boolean;
  readonly differential?: boolean;
  readonly tag?: string[];
  readonly exclude?: string[];
  readonly excludeFrom?: string;
  readonly oneFileSystem?: boolean;
  readonly acceptRoot?: boolean;
  readonly dryRun?: boolean;
}

function patterns(options: Options): string[] {
  const own = options.exclude ?? [];
  if (!options.excludeFrom) return own;
  try {
    return [...own, toText(readFileSync(fromText(options.excludeFrom)))];
  } catch (error) {
    throw new TmError('TM1002', `--exclude-from ${options.excludeFrom}: ${(error as Error).message}`);
  }
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
    excludes: patterns(options),
    oneFileSystem: options.oneFileSystem === true,
    acceptRoot: options.acceptRoot === true,
    threads: context.settings.threads,
    onProblem: (problem) => output.problem(problem.code, problem.dir, problem.name, problem.message),
    onProgress: ({ newBytes, ...done }) => line.show(done, { newBytes }),
    signal,
  };
  const secondsSince = () => Number(((performance.now() - started) / 1000).toFixed(3));
  if (options.dryRun) return preview(context, request, secondsSince);
  return withEngine(context, true, async (engine) => {
    const info = await runBackup(engine, request);
    const seconds = secondsSince();
    const baseline = await baselineLabel(info, (seq) =>
      engine.registry.backups.at(info.sourceId, seq).then((one) => one?.label),
    );
    const { counts } = info;
    output.line({ type: 'summary', label: info.label, kind: info.kind, baseline, ...counts, seconds }, () =>
      summaryText(info, seconds),
    );
    return counts && counts.problems > 0 ? 3 : 0;
  });
}

async function baselineLabel(
  info: BackupInfo,
  labelOf: (seq: number) => Promise<string | undefined>,
): Promise<string | null> {
  return info.kind === 'full' ? null : ((await labelOf(info.baselineSeq)) ?? null);
}

function summaryText({ kind, label, counts: c }: BackupInfo, seconds: number): string {
  if (!c) return label;
  const problems = c.problems > 0 ? `, ${c.problems} with problems` : '';
  return [
    `${kind === 'full' ? 'Full' : 'Differential'} backup ${label}`,
    `  ${c.files} files, ${formatBytes(c.bytes)}: ${c.added} added, ${c.changed} changed, ${c.metadata} metadata only, ${c.deleted} deleted, ${c.unchanged} unchanged${problems}`,
    `  ${formatBytes(c.newBytes)} new, ${formatBytes(c.storedBytes)} stored, ${seconds.toFixed(1)} s`,
  ].join('\n');
}
