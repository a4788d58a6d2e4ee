import type { BackupRequest } from '../../libs/embedded/backup.ts';
import { type DryRunResult, dryRun } from '../../libs/embedded/dry-run.ts';
import { Engine } from '../../libs/embedded/engine.ts';
import { NoStoreYet } from '../../libs/embedded/init-store.ts';
import { storeFolder } from '../../libs/embedded/own-folders.ts';
import { joinPath, pathToDisplay, pathToJson } from '../../libs/model/tree-path.ts';
import { type Context, isUntouched } from './context.ts';
import { formatBytes } from './display.ts';

/** `backup --dry-run`: says what a backup would record. */
export async function preview(
  context: Context,
  request: BackupRequest,
  secondsSince: () => number,
): Promise<number> {
  const { output, settings } = context;
  const own = [settings.home, storeFolder(settings.storeUrl)].filter((path) => path !== undefined);
  const engine = await openIfMade(context);
  try {
    const result = await dryRun(
      engine,
      {
        ...request,
        onChange(op, dir, name) {
          const path = name.length === 0 ? dir : joinPath(dir, name);
          const json = { type: 'change', op, path: pathToJson(path) };
          output.line(json, () => `${op.padEnd(8)} ${pathToDisplay(path)}`);
        },
      },
      own,
    );
    const { kind, baseline, counts } = result;
    const seconds = secondsSince();
    output.line({ type: 'summary', dryRun: true, label: null, kind, baseline, ...counts, seconds }, () =>
      text(result),
    );
    return counts.problems > 0 ? 3 : 0;
  } finally {
    await engine?.close();
  }
}

async function openIfMade({ settings, output, signal }: Context): Promise<Engine | undefined> {
  if (await isUntouched(settings)) return undefined;
  try {
    const onStatus = (status: string) => output.status(status);
    return await Engine.open({ ...settings, create: false, onStatus, signal });
  } catch (error) {
    if (error instanceof NoStoreYet) return undefined;
    throw error;
  }
}

function text({ kind, baseline, counts: c }: DryRunResult): string {
  const problems = c.problems > 0 ? `, ${c.problems} with problems` : '';
  const what = kind === 'full' ? 'A full backup' : `A differential backup against ${baseline}`;
  return [
    `${what} would hold ${c.files} files, ${formatBytes(c.bytes)}; nothing was written.`,
    `  ${c.added} added, ${c.changed} changed, ${c.metadata} metadata only, ${c.deleted} deleted, ${c.unchanged} unchanged${problems}`,
  ].join('\n');
}
