import { realpathSync } from 'node:fs';
import type { BackupInfo } from '../model/backup.ts';
import { TmError } from '../model/errors.ts';
import { isPrefixOf } from '../model/label.ts';
import { parseTime, TIME_FORMS } from '../model/parse-time.ts';
import type { SourceRow } from '../registry/port.ts';
import type { Engine } from './engine.ts';

export interface FoundBackup {
  readonly backup: BackupInfo;
  readonly source: SourceRow;
}

/** The source of a folder, given as DIR or AGENT:DIR. */
export async function findSource(engine: Engine, name: string): Promise<SourceRow> {
  const sources = await engine.registry.backups.sources();
  const real = (path: string): Buffer => {
    try {
      return realpathSync(path, { encoding: 'buffer' });
    } catch {
      return Buffer.from(path.replace(/\/+$/, '') || '/');
    }
  };
  const colon = name.indexOf(':');
  const agent = colon > 0 && !name.startsWith('/') ? name.slice(0, colon) : undefined;
  const root = real(agent ? name.slice(colon + 1) : name);
  const found = sources.find((one) => one.root.equals(root) && one.agent === (agent ?? engine.home.agent));
  if (!found) throw new TmError('TM1703', name);
  return found;
}

/** Committed backups, oldest first (within a source by seq): of one source, or of all. */
export async function committed(engine: Engine, source: string | undefined): Promise<FoundBackup[]> {
  const only = source === undefined ? undefined : await findSource(engine, source);
  const sources = new Map((await engine.registry.backups.sources()).map((one) => [one.id, one]));
  const backups = await engine.registry.backups.list(only ? { sourceId: only.id } : {});
  return backups.map((backup) => ({ backup, source: sources.get(backup.sourceId)! }));
}

/** `latest`, `baseline`, a label, or its unique prefix; what `latest` means goes by source seq. */
export async function findBackup(
  engine: Engine,
  label: string,
  source: string | undefined,
): Promise<FoundBackup> {
  const all = await committed(engine, source);
  if (label === 'latest' || label === 'baseline') return newest(all, label);
  const exact = all.filter((one) => one.backup.label === label);
  if (exact.length === 1) return exact[0]!;
  const matches = exact.length > 0 ? exact : all.filter((one) => isPrefixOf(label, one.backup.label));
  if (matches.length === 1) return matches[0]!;
  if (matches.length === 0) throw new TmError('TM1701', label);
  throw ambiguous(label, matches);
}

/** The newest backup that was committed until then, by the registry's clock. */
export async function findBackupAt(
  engine: Engine,
  time: string,
  source: string | undefined,
): Promise<FoundBackup> {
  const at = parseTime(time);
  if (!at) throw new TmError('TM1002', `--at ${time}: expected is ${TIME_FORMS}`);
  const until = (await committed(engine, source)).filter(
    (one) => one.backup.committedAt && one.backup.committedAt <= at,
  );
  if (until.length === 0) throw new TmError('TM1701', `none was committed until ${at.toISOString()}`);
  return newest(until, 'latest');
}

function newest(all: readonly FoundBackup[], which: 'latest' | 'baseline'): FoundBackup {
  if (all.length === 0) throw new TmError('TM1701', which);
  if (new Set(all.map((one) => one.source.id)).size > 1) throw ambiguous(which, all);
  const source = all[0]!.source;
  const wanted = which === 'latest' ? all.at(-1) : all.findLast((one) => one.backup.seq === source.baseline);
  if (!wanted) throw new TmError('TM1701', which);
  return wanted;
}

function ambiguous(label: string, matches: readonly FoundBackup[]): TmError {
  const candidates = matches.slice(-10).map((one) => `${one.backup.label} of ${one.source.root.toString()}`);
  return new TmError('TM1702', `${label}: ${candidates.join(', ')}`);
}
