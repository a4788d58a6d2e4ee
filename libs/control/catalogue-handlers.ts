import { z } from 'zod';
import { dataKeyName } from '../commit/data-key.ts';
import { catalogueRoutes as routes } from '../contracts/api/control.ts';
import { pathFromQuery } from '../contracts/api/wire.ts';
import { type Binding, bind } from '../http/binding.ts';
import type { Principal } from '../http/principal.ts';
import { TmError } from '../model/errors.ts';
import { fromSlashes, pathToJson } from '../model/tree-path.ts';
import type { SourceStanding, WatchRow } from '../registry/port.ts';
import {
  cursorOfKey,
  decodeCursor,
  encodeCursor,
  KeyCursor,
  keyOfCursor,
  NumberCursor,
  nextNumber,
} from './cursor.ts';
import { collect, entriesPage, findPage, type Listing, recordsOf } from './pages.ts';
import type { ControlParts } from './parts.ts';
import { committedFor, sourceFor } from './scope.ts';
import { backupView, changeView, entryView, pathOf, sourceView } from './views.ts';
import { watchView } from './watch-handlers.ts';

const BackupCursor = z.tuple([z.number().int(), z.number().int()]);
const FindCursor = z.tuple([z.number().int(), KeyCursor.nullable()]);
/** Looking through the database for one request is worth this many at a time. */
const SEARCHES = 4;
const READS = 16;
const MAX_RECIPIENTS = 64;

const own = ({ kind, agentUid }: Principal): string | undefined => (kind === 'agent' ? agentUid : undefined);

/** What there is, and what is in it. Every list is paged by an index; a page is bounded in rows and bytes. */
export const catalogueHandlers = (parts: ControlParts): Binding[] => [
  ...listHandlers(parts),
  ...entryHandlers(parts),
  ...keyHandlers(parts),
];

function listHandlers({ cell: { registry, storeRow }, writers }: ControlParts): Binding[] {
  return [
    bind(routes.listWriters, async () => ({ writers: [...writers] })),
    bind(routes.listSources, async ({ principal, query: { after, limit } }) => {
      const afterId = decodeCursor(NumberCursor, after) ?? 0;
      const rows = await registry.catalogue.sources({ afterId, agentUid: own(principal), limit });
      return { sources: rows.map(sourceView), next: nextNumber(rows, limit) };
    }),
    bind(routes.listBackups, async ({ principal, query: { source: uid, all, after, limit } }) => {
      const source = uid === undefined ? undefined : await sourceFor(registry, principal, uid);
      const [sourceId, seq] = decodeCursor(BackupCursor, after) ?? [0, 0];
      const page = { after: { sourceId, seq }, sourceId: source?.id, agentUid: own(principal), all, limit };
      const rows = await registry.catalogue.backups(page);
      const sources = await registry.catalogue.sourcesByIds([...new Set(rows.map((row) => row.sourceId))]);
      const last = rows.length < limit ? undefined : rows.at(-1);
      return {
        backups: rows.map((row) => backupView(row, sources.get(row.sourceId)!.uid)),
        next: last ? encodeCursor([last.sourceId, last.seq]) : null,
      };
    }),
    bind(
      routes.find,
      async ({ principal, query: { pattern, source: uid, after, limit } }) => {
        const source = uid === undefined ? undefined : await sourceFor(registry, principal, uid);
        const cursor = decodeCursor(FindCursor, after);
        const place = cursor && { afterId: cursor[0], key: cursor[1] ?? undefined };
        const wanted = { pattern, agentUid: own(principal), source, limit };
        const { rows, next } = await findPage(registry, wanted, place);
        return {
          found: rows.map(({ path, source: { uid: id }, backup }) => ({
            path: pathToJson(path),
            source: id,
            seq: backup.seq,
            backup: backup.id,
            label: backup.label,
          })),
          next: next ? encodeCursor([next.afterId, next.key ?? null]) : null,
        };
      },
      { concurrent: SEARCHES },
    ),
    bind(routes.status, async ({ query: { after, limit } }) => {
      const afterId = decodeCursor(NumberCursor, after) ?? 0;
      const sources = await registry.catalogue.sources({ afterId, limit });
      const now = await registry.now();
      const watches = await registry.watches.list(sources.map((source) => source.id));
      const { storeId: id, ownerGeneration } = storeRow;
      return {
        now: now.toISOString(),
        store: { id, ownerGeneration },
        sources: (await registry.catalogue.standings(sources)).map((one) =>
          statusView(one, watches.get(one.source.id), now),
        ),
        next: nextNumber(sources, limit),
      };
    }),
  ];
}

function statusView(
  { source, last, lastFull, active, failed }: SourceStanding,
  watch: WatchRow | undefined,
  now: Date,
) {
  const view = (backup: typeof last) => (backup ? backupView(backup, source.uid) : null);
  const age = last?.committedAt && Math.floor((now.getTime() - last.committedAt.getTime()) / 1000);
  return {
    source: sourceView(source),
    last: view(last),
    lastFull: view(lastFull),
    ageSeconds: age === undefined ? null : Math.max(0, age),
    open: view(active),
    failed: view(failed),
    watch: watch ? watchView(watch, now) : null,
  };
}

interface ListingQuery {
  readonly within?: string | undefined;
  readonly depth: 'children' | 'all';
  readonly after?: string | undefined;
  readonly limit: number;
}

const listingOf = ({ within, depth, after, limit }: ListingQuery): Listing => ({
  within: within === undefined ? undefined : fromSlashes(pathFromQuery(within)),
  depth,
  after: decodeCursor(KeyCursor, after),
  limit,
});

function entryHandlers({ cell: { registry } }: ControlParts): Binding[] {
  return [
    bind(
      routes.listEntries,
      async ({ principal, params, query }) => {
        const { backup, source } = await committedFor(registry, principal, params.id);
        const { rows, next } = await entriesPage(registry, source, backup.seq, listingOf(query));
        return { entries: rows.map((row) => entryView(row)), next };
      },
      { concurrent: READS },
    ),
    bind(
      routes.listRecords,
      async ({ principal, params, query }) => {
        const { backup, source } = await committedFor(registry, principal, params.id);
        return recordsOf(await entriesPage(registry, source, backup.seq, listingOf(query)));
      },
      { concurrent: READS },
    ),
    bind(routes.listProblems, async ({ principal, params, query: { after, limit } }) => {
      const { backup, source } = await committedFor(registry, principal, params.id);
      const page = { after: keyOfCursor(decodeCursor(KeyCursor, after)), limit };
      const rows = await registry.catalogue.problems(source.id, backup.seq, page);
      const last = rows.length < limit ? undefined : rows.at(-1);
      return {
        problems: rows.map((row) => ({ path: pathToJson(pathOf(row)), code: `TM${row.code}` })),
        next: last ? encodeCursor(cursorOfKey(last)) : null,
      };
    }),
    bind(
      routes.diff,
      async ({ principal, params, query: { from, after, limit } }) => {
        const { backup, source } = await committedFor(registry, principal, params.id);
        const fromSeq = await otherSeq(registry, principal, from, source.id, backup.baselineSeq);
        const page = { after: keyOfCursor(decodeCursor(KeyCursor, after)), limit };
        const rows = await collect(registry.entries.changes(source.id, fromSeq, backup.seq, page));
        const last = rows.length < limit ? undefined : rows.at(-1);
        return { changes: rows.map(changeView), next: last ? encodeCursor(cursorOfKey(last.key)) : null };
      },
      { concurrent: READS },
    ),
  ];
}

async function otherSeq(
  registry: ControlParts['cell']['registry'],
  principal: Principal,
  id: string | undefined,
  sourceId: number,
  baselineSeq: number,
): Promise<number> {
  if (id === undefined) return baselineSeq;
  const { backup } = await committedFor(registry, principal, id);
  if (backup.sourceId !== sourceId) throw new TmError('TM1807', 'query.from: a backup of another source');
  return backup.seq;
}

function keyHandlers({ cell: { store } }: ControlParts): Binding[] {
  return [
    bind(routes.domainKeys, async ({ params: { domain } }) => {
      const keys: { name: string; wrapped: string }[] = [];
      for await (const { name } of store.list(`keys/${domain}/`)) {
        if (keys.length === MAX_RECIPIENTS) break;
        keys.push({ name, wrapped: (await store.read(name)).toString('base64') });
      }
      if (keys.length === 0) throw new TmError('TM1811', `domain ${domain}`);
      return { keys };
    }),
    bind(routes.dataKey, async ({ params: { id } }) => {
      const name = dataKeyName(Buffer.from(id, 'hex'));
      if (!(await store.stat(name))) throw new TmError('TM1811', name);
      return { wrapped: (await store.read(name)).toString('base64') };
    }),
  ];
}
