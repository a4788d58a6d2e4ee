import { resolve } from 'node:path';
import type { BackupReader } from '../../../libs/catalogue/backup-reader.ts';
import { findBackup, findBackupAt } from '../../../libs/catalogue/find-backup.ts';
import { fromText } from '../../../libs/model/byte-text.ts';
import { TmError } from '../../../libs/model/errors.ts';
import { fromSlashes, joinPath, pathToDisplay, pathToJson } from '../../../libs/model/tree-path.ts';
import { restore as runRestore } from '../../../libs/restore/restore.ts';
import { type Context, withReader } from '../context.ts';
import { formatBytes } from '../output.ts';
import { ProgressLine } from '../progress.ts';

interface Options {
  readonly to?: string;
  readonly inPlace?: boolean;
  readonly at?: string;
  readonly delete?: boolean;
  readonly dryRun?: boolean;
}

export async function restore(context: Context, args: string[], options: Options): Promise<number> {
  const { output, settings, signal } = context;
  if ((options.to === undefined) === (options.inPlace === undefined))
    throw new TmError('TM1001', 'give either --to TARGET or --in-place');
  const [label, ...paths] = options.at === undefined ? args : ['', ...args];
  if (label === undefined) throw new TmError('TM1001', 'give a LABEL (or `latest`), or --at TIME');
  const started = performance.now();
  const line = new ProgressLine(output, () => performance.now());
  const work = async (reader: BackupReader) => {
    const wanted =
      options.at === undefined
        ? await findBackup(reader, label, settings.source)
        : await findBackupAt(reader, options.at, settings.source);
    const { backup, source } = wanted;
    const result = await runRestore(
      {
        paths: paths.map((path) => fromSlashes(path)),
        target: options.inPlace ? source.root : fromText(resolve(options.to!)),
        delete: options.delete === true,
        dryRun: options.dryRun === true,
        threads: settings.threads,
        spoolDir: reader.spoolDir,
        forbidden: reader.forbidden(),
        onProblem: ({ code, dir, name, message }) => output.problem(code, dir, name, message),
        onProgress: (done) => line.show(done),
        ...(options.dryRun
          ? {
              onChange: ({ op, dir, name }) => {
                const path = joinPath(dir, name);
                output.line(
                  { type: 'change', op, path: pathToJson(path) },
                  () => `${op}  ${pathToDisplay(path)}`,
                );
              },
            }
          : {}),
        signal,
      },
      { entries: reader.catalogue.entries(wanted), ...(await reader.blocks(wanted, signal)) },
    );
    const seconds = Number(((performance.now() - started) / 1000).toFixed(3));
    output.line({ type: 'summary', label: backup.label, ...result, seconds }, () => {
      const { files, bytes, added, changed, metadata, unchanged, deleted, problems } = result;
      const done = options.dryRun ? 'Would restore' : 'Restored';
      return `${done} ${backup.label}: ${files} files, ${formatBytes(bytes)}; ${added} added, ${changed} changed, ${metadata} metadata only, ${deleted} deleted, ${unchanged} were as they should be, ${problems} problems, ${seconds} s`;
    });
    return result.problems > 0 ? 3 : 0;
  };
  return withReader(context, work, { readsPacks: true });
}
