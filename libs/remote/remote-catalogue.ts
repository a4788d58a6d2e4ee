import { backupOfView } from '../agent/backup-view.ts';
import { recordPages } from '../agent/record-pages.ts';
import type {
  BackupEntries,
  Catalogue,
  CatalogueSource,
  CatalogueStatus,
  EntryChange,
  FoundBackup,
  FoundEntry,
  SourceWatch,
} from '../catalogue/port.ts';
import { backupRoutes, catalogueRoutes as routes } from '../contracts/api/control.ts';
import type { BackupView, SourceView } from '../contracts/api/control-views.ts';
import type { WatchView } from '../contracts/api/watch.ts';
import { bytesOfJson } from '../contracts/api/wire.ts';
import type { HttpClient } from '../http/client.ts';
import { pagesOf, readAhead } from '../http/pages.ts';
import { TmError } from '../model/errors.ts';
import { fromSlashes, joinPath } from '../model/tree-path.ts';
import type { EntryKey } from '../registry/port.ts';

/** Each is held in memory until it is asked for. */
const PAGES_AHEAD = 2;

/** The catalogue as the control plane tells it, page by page; the next ones are fetched meanwhile. */
export class RemoteCatalogue implements Catalogue {
  readonly #control: HttpClient;
  readonly #signal: AbortSignal;
  /** Numbers of sources within this catalogue. */
  readonly #numbers = new Map<string, number>();

  constructor(control: HttpClient, signal: AbortSignal) {
    this.#control = control;
    this.#signal = signal;
  }

  get #options() {
    return { signal: this.#signal };
  }

  #source({ id: uid, agent, agentId, root, domain, head, baseline }: SourceView): CatalogueSource {
    const id = this.#numbers.get(uid) ?? this.#numbers.size + 1;
    this.#numbers.set(uid, id);
    return {
      id,
      uid,
      agent,
      agentUid: agentId ?? undefined,
      root: bytesOfJson(root),
      domain,
      head,
      baseline,
    };
  }

  async sources(): Promise<CatalogueSource[]> {
    const call = (query: { limit: number }) =>
      this.#control.call(routes.listSources, { query }, this.#options);
    const all: CatalogueSource[] = [];
    for await (const { sources } of pagesOf(call)) all.push(...sources.map((one) => this.#source(one)));
    return all;
  }

  async backups(of?: CatalogueSource): Promise<FoundBackup[]> {
    const sources = new Map((await this.sources()).map((one) => [one.uid, one]));
    const filter = of ? { source: of.uid } : {};
    const call = (paging: { limit: number }) =>
      this.#control.call(routes.listBackups, { query: { ...paging, ...filter } }, this.#options);
    const all: FoundBackup[] = [];
    for await (const { backups } of pagesOf(call))
      for (const view of backups) {
        const source = sources.get(view.source);
        if (source) all.push({ backup: backupOfView(view, source.id), source });
      }
    return oldestFirst(all);
  }

  entries({ backup }: FoundBackup): BackupEntries {
    const list: BackupEntries['list'] = (range = {}) =>
      readAhead(recordPages(this.#control, backup.id, range, this.#signal), PAGES_AHEAD);
    return {
      list,
      visit: async (visit, within) => {
        for await (const page of list({ within })) page.forEach(visit);
      },
      lookup: (keys) => Promise.all(keys.map((key) => this.#entry(backup.id, key))),
    };
  }

  async #entry(backupId: string, { dir, name }: EntryKey) {
    const within = name.length === 0 ? dir : joinPath(dir, name);
    const range = { within, depth: 'children' as const, pageSize: 1 };
    for await (const [first] of recordPages(this.#control, backupId, range, this.#signal))
      return first?.dir.equals(dir) && first.name.equals(name) ? first : undefined;
    return undefined;
  }

  async *changes({ backup }: FoundBackup, from?: FoundBackup): AsyncGenerator<EntryChange[]> {
    const params = { id: backup.id };
    const base = from ? { from: from.backup.id } : {};
    const call = (paging: { limit: number }) =>
      this.#control.call(routes.diff, { params, query: { ...paging, ...base } }, this.#options);
    for await (const { changes } of readAhead(pagesOf(call), PAGES_AHEAD))
      yield changes.map(({ op, path }) => ({ op, path: fromSlashes(bytesOfJson(path)) }));
  }

  async *find(pattern: string, of?: CatalogueSource): AsyncGenerator<FoundEntry[]> {
    const filter = of ? { source: of.uid } : {};
    const known = new Map((await this.backups(of)).map((one) => [one.backup.id, one]));
    const heads = newestSeqs(known.values());
    const call = (paging: { limit: number }) =>
      this.#control.call(routes.find, { query: { ...paging, ...filter, pattern } }, this.#options);
    for await (const { found } of readAhead(pagesOf(call), PAGES_AHEAD)) {
      const page: FoundEntry[] = [];
      for (const { backup: id, path } of found) {
        const backup = known.get(id) ?? (await this.backup(id)); // committed since the list was made;
        known.set(id, backup);
        const deleted = backup.backup.seq < (heads.get(backup.source.uid) ?? 0);
        page.push({ ...backup, path: fromSlashes(bytesOfJson(path)), deleted });
      }
      yield page;
    }
  }

  async backup(id: string): Promise<FoundBackup> {
    const { backup } = await this.#control.call(
      backupRoutes.getBackup,
      { params: { id }, query: {} },
      this.#options,
    );
    const source = (await this.sources()).find((one) => one.uid === backup.source);
    if (!source) throw new TmError('TM1806', `source ${backup.source} of backup ${id} is not listed`);
    return { backup: backupOfView(backup, source.id), source };
  }

  async status(): Promise<CatalogueStatus> {
    const call = (query: { limit: number }) => this.#control.call(routes.status, { query }, this.#options);
    const sources: CatalogueStatus['sources'][number][] = [];
    let store = { id: '', ownerGeneration: 0 };
    for await (const page of pagesOf(call)) {
      store = page.store;
      for (const { source: view, last, lastFull, ageSeconds, open, failed, watch } of page.sources) {
        const source = this.#source(view);
        const info = (backup: BackupView | null) => (backup ? backupOfView(backup, source.id) : undefined);
        sources.push({
          source,
          last: info(last),
          lastFull: info(lastFull),
          ageSeconds: ageSeconds ?? undefined,
          open: info(open),
          failed: info(failed),
          watch: watch ? watchOf(watch) : undefined,
        });
      }
    }
    return { storeId: store.id, ownerGeneration: store.ownerGeneration, sources };
  }
}

const watchOf = ({ by, oldestChange, seenAt, gaps, ...watch }: WatchView): SourceWatch => ({
  ...watch,
  by: by ?? undefined,
  oldestChange: oldestChange === null ? undefined : new Date(oldestChange),
  seenAt: new Date(seenAt),
  gaps: gaps.map(({ reason, since }) => ({ reason, since: new Date(since) })),
});

function newestSeqs(all: Iterable<FoundBackup>): Map<string, number> {
  const newest = new Map<string, number>();
  for (const { backup, source } of all)
    newest.set(source.uid, Math.max(backup.seq, newest.get(source.uid) ?? 0));
  return newest;
}

/** By time, but within a source by seq, also where the clock was set back. `all`: by source and seq. */
function oldestFirst(all: readonly FoundBackup[]): FoundBackup[] {
  const reached = new Map<number, number>();
  return all
    .map((one) => {
      const { id } = one.source;
      const at = Math.max(one.backup.openedAt.getTime(), reached.get(id) ?? 0);
      reached.set(id, at);
      return { one, at };
    })
    .sort((a, b) => a.at - b.at || a.one.source.id - b.one.source.id || a.one.backup.seq - b.one.backup.seq)
    .map(({ one }) => one);
}
