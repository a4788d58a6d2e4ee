import { sameContent } from '../calculate/delta-calculator.ts';
import type {
  BackupEntries,
  Catalogue,
  CatalogueSource,
  CatalogueStatus,
  EntryChange,
  FoundBackup,
  FoundEntry,
} from '../catalogue/port.ts';
import type { BackupInfo } from '../model/backup.ts';
import { decodeState } from '../model/entry.ts';
import { TmError } from '../model/errors.ts';
import { findPattern } from '../model/find-pattern.ts';
import { joinPath } from '../model/tree-path.ts';
import type { EntryVersion, Registry, SourceRow } from '../registry/port.ts';

/** The catalogue as the registry at hand has it. */
export class RegistryCatalogue implements Catalogue {
  readonly #registry: Registry;

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  sources(): Promise<SourceRow[]> {
    return this.#registry.backups.sources();
  }

  async backups(of?: CatalogueSource): Promise<FoundBackup[]> {
    const { backups } = this.#registry;
    const sources = new Map((await backups.sources()).map((one) => [one.id, one]));
    const all = await backups.list(of ? { sourceId: of.id } : {});
    return all.map((backup) => ({ backup, source: sources.get(backup.sourceId)! }));
  }

  entries({ backup, source }: FoundBackup): BackupEntries {
    const { entries } = this.#registry;
    return {
      list: ({ within, depth } = {}) =>
        entries.list(source.id, backup.seq, { ...(within && { within }), ...(depth && { depth }) }),
      visit: (visit, within) => entries.visit(source.id, backup.seq, within, visit),
      lookup: (keys) => entries.lookup(source.id, backup.seq, keys),
    };
  }

  async *changes({ backup, source }: FoundBackup, from?: FoundBackup): AsyncGenerator<EntryChange[]> {
    const fromSeq = from ? from.backup.seq : backup.baselineSeq;
    for await (const page of this.#registry.entries.changes(source.id, fromSeq, backup.seq))
      yield page.map(({ key: { dir, name }, before, after }) => ({
        op: opOf(before, after),
        path: name.length === 0 ? dir : joinPath(dir, name),
      }));
  }

  async *find(pattern: string, of?: CatalogueSource): AsyncGenerator<FoundEntry[]> {
    const { nameLike, matches } = findPattern(pattern);
    const all = await this.backups(of);
    for (const backups of Map.groupBy(all, ({ source }) => source.id).values()) {
      const bySeq = new Map(backups.map((one) => [one.backup.seq, one]));
      const newest = Math.max(...bySeq.keys());
      const { id } = backups[0]!.source;
      for await (const page of this.#registry.entries.find(id, [...bySeq.keys()], nameLike))
        yield page.flatMap(({ dir, name, seq }) => {
          const path = joinPath(dir, name);
          return matches(path) ? [{ ...bySeq.get(seq)!, path, deleted: seq < newest }] : [];
        });
    }
  }

  async status(): Promise<CatalogueStatus> {
    const { backups, catalogue, journal } = this.#registry;
    const store = await journal.store();
    if (!store) throw new TmError('TM1202', 'the registry knows no store');
    const now = await this.#registry.now();
    const standings = await catalogue.standings(await backups.sources());
    const sources = standings.map(({ active, ...one }) => ({
      ...one,
      open: active,
      watch: undefined,
      ageSeconds: age(one.last, now),
    }));
    const { storeId, ownerGeneration } = store;
    return { storeId, ownerGeneration, sources };
  }
}

function age(last: BackupInfo | undefined, now: Date): number | undefined {
  const at = last?.committedAt?.getTime();
  return at === undefined ? undefined : Math.max(0, Math.floor((now.getTime() - at) / 1000));
}

function opOf(before: EntryVersion | undefined, after: EntryVersion | undefined): EntryChange['op'] {
  if (!before) return 'added';
  if (!after) return 'deleted';
  return sameContent(decodeState(before.state), decodeState(after.state)) ? 'metadata' : 'changed';
}
