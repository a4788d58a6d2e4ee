import { readFileSync } from 'node:fs';
import { type BackupRequest, backup as runBackup } from '../../../libs/embedded/backup.ts';
import type { BackupInfo } from '../../../libs/model/backup.ts';
import { TmError } from '../../../libs/model/errors.ts';
import { type Context, withEngine } from '../context.ts';
import { formatBytes } from '../output.ts';
import { parseTags } from '../tags.ts';

interface Options {
  readonly full?: boolean;
  readonly differential?: boolean;
  readonly tag?: string[];
  readonly exclude?: string[];
  readonly excludeFrom?: string;
  readonly oneFileSystem?: boolean;
  readonly acceptRoot?: boolean;
}

function patterns(options: Options): string[] {
  const own = options.exclude ?? [];
  if (!options.excludeFrom) return own;
  try {
    return [...own, ...readFileSync(options.excludeFrom, 'utf8').split('\n')];
  } catch (error) {
    throw new TmError('TM1002', `--exclude-from ${options.excludeFrom}: ${(error as Error).message}`);
  }
}

export async function backup(context: Context, [dir]: string[], options: Options): Promise<number> {
  const { output, settings, signal } = context;
  const started = performance.now();
  const tags = parseTags(options.tag ?? []);
  const excludes = patterns(options);
  const request: BackupRequest = {
    dir: dir!,
    kind: options.full ? 'full' : options.differential ? 'differential' : undefined,
    tags,
    excludes,
    oneFileSystem: options.oneFileSystem === true,
    acceptRoot: options.acceptRoot === true,
    threads: settings.threads,
    onProblem: (problem) => output.problem(problem.code, problem.dir, problem.name, problem.message),
    onProgress: ({ files, bytes, newBytes }) => {
      const seconds = (performance.now() - started) / 1000;
      const rate = Math.round(bytes / seconds);
      output.progress(
        () => ({ files, bytes, newBytes, bytesPerSecond: rate }),
        () => `${files} read, ${formatBytes(bytes)}, ${formatBytes(newBytes)} new, ${formatBytes(rate)}/s`,
      );
    },
    signal,
  };
  return withEngine(context, true, async (engine) => {
    const info = await runBackup(engine, request);
    const seconds = (performance.now() - started) / 1000;
    const baseline = await baselineLabel(info, (seq) =>
      engine.registry.backups
        .list({ sourceId: info.sourceId })
        .then((all) => all.find((one) => one.seq === seq)?.label),
    );
    const { counts } = info;
    output.line(
      {
        type: 'summary',
        label: info.label,
        kind: info.kind,
        baseline,
        ...counts,
        seconds: Number(seconds.toFixed(3)),
      },
      () => summaryText(info, seconds),
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
