import { realpathSync } from 'node:fs';
import { resolve } from 'node:path';
import { fromText } from '../model/byte-text.ts';
import { TmError } from '../model/errors.ts';
import { isPrefixOf } from '../model/label.ts';
import { parseTime, TIME_FORMS } from '../model/parse-time.ts';
import { bytesToDisplay } from '../model/tree-path.ts';
import type { BackupReader } from './backup-reader.ts';
import type { CatalogueSource, FoundBackup } from './port.ts';

/** How many an ambiguous label is answered with. */
const CANDIDATES = 10;

/** Where backups are looked for. */
type Place = Pick<BackupReader, 'catalogue' | 'agent' | 'agentUid'>;

/** The source of a folder, given as DIR or AGENT:DIR; the folder need not be there any more. */
export async function findSource<S extends CatalogueSource>(
  {
    catalogue,
    agent: own,
    agentUid,
  }: Pick<Place, 'agent' | 'agentUid'> & {
    readonly catalogue: { sources(): Promise<S[]> };
  },
  name: string,
): Promise<S> {
  const [, agent = own, dir = name] = /^([^/:]+):(\/.*)$/s.exec(name) ?? [];
  const root = agent === own ? canonicalRoot(dir) : trimmed(dir);
  const sources = await catalogue.sources();
  const named = sources.filter((one) => one.root.equals(root) && one.agent === agent);
  const found = named.find((one) => one.agentUid === agentUid) ?? named[0];
  if (!found) throw new TmError('TM1703', name);
  return found;
}

const trimmed = (path: string): Buffer => fromText(path.replace(/\/+$/, '') || '/');

/** The path under which a folder of this host is a source; of one that is gone, as far as its name says. */
export function canonicalRoot(path: string): Buffer {
  try {
    return realpathSync.native(fromText(path), { encoding: 'buffer' });
  } catch {
    return trimmed(resolve(path));
  }
}

/** Committed backups, oldest first (within a source by seq): of one source, or of all. */
export async function committed(place: Place, source: string | undefined): Promise<FoundBackup[]> {
  return place.catalogue.backups(source === undefined ? undefined : await findSource(place, source));
}

/** `latest`, `baseline`, a label, or its unique prefix; what `latest` means goes by source seq. */
export async function findBackup(
  place: Place,
  label: string,
  source: string | undefined,
): Promise<FoundBackup> {
  const all = await committed(place, source);
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
  place: Place,
  time: string,
  source: string | undefined,
): Promise<FoundBackup> {
  const at = parseTime(time);
  if (!at) throw new TmError('TM1002', `--at ${time}: expected is ${TIME_FORMS}`);
  const until = (await committed(place, source)).filter(
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
  const newest = matches.slice(-CANDIDATES);
  const candidates = newest.map(({ backup, source }) => `${backup.label} of ${bytesToDisplay(source.root)}`);
  const more = matches.length - newest.length;
  return new TmError('TM1702', `${label}: ${candidates.join(', ')}${more > 0 ? ` and ${more} older` : ''}`);
}
