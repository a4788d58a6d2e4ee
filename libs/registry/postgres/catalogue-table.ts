import type { BackupInfo } from '../../model/backup.ts';
import type { AgentRow, CatalogueTable, ProblemRow, SourceName, SourceRow, SourceStanding } from '../port.ts';
import { AGENT_COLUMNS, agentOf } from './access-table.ts';
import { ACTIVE, backupOf, sourceOf, sourceWhere } from './backup-rows.ts';
import type { Database } from './database.ts';

const EMPTY = Buffer.alloc(0);

export class PostgresCatalogue implements CatalogueTable {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  async source(name: SourceName): Promise<SourceRow | undefined> {
    const { where, values } = sourceWhere(name);
    const { rows } = await this.#db.query(`select * from sources s where ${where}`, values);
    return rows[0] && sourceOf(rows[0]);
  }

  async sourcesByIds(ids: readonly number[]): Promise<Map<number, SourceRow>> {
    const { rows } = await this.#db.query('select * from sources where id = any($1)', [ids]);
    return new Map(rows.map((row) => [row.id, sourceOf(row)]));
  }

  async sources({
    afterId,
    agentUid,
    limit,
  }: Parameters<CatalogueTable['sources']>[0]): Promise<SourceRow[]> {
    const { rows } = await this.#db.query(
      'select * from sources where id > $1 and ($2::uuid is null or agent_uid = $2) order by id limit $3',
      [afterId, agentUid ?? null, limit],
    );
    return rows.map(sourceOf);
  }

  async backups(page: Parameters<CatalogueTable['backups']>[0]): Promise<BackupInfo[]> {
    const { after, sourceId = null, agentUid = null, all, limit } = page;
    const { rows } = await this.#db.query(
      `select * from backups where (source, seq) > ($1, $2) and ($3::int is null or source = $3)
         and ($4::uuid is null or source in (select id from sources where agent_uid = $4))
         and ($5 or state = 'committed')
       order by source, seq limit $6`,
      [after.sourceId, after.seq, sourceId, agentUid, all, limit],
    );
    return rows.map(backupOf);
  }

  async committedSeqs(sourceId: number): Promise<number[]> {
    const { rows } = await this.#db.query(
      `select seq from backups where source = $1 and state = 'committed' order by seq`,
      [sourceId],
    );
    return rows.map(({ seq }) => seq);
  }

  async bySeqs(sourceId: number, seqs: readonly number[]): Promise<Map<number, BackupInfo>> {
    const { rows } = await this.#db.query('select * from backups where source = $1 and seq = any($2)', [
      sourceId,
      seqs,
    ]);
    return new Map(rows.map((row) => [row.seq, backupOf(row)]));
  }

  async standings(sources: readonly SourceRow[]): Promise<SourceStanding[]> {
    const { rows } = await this.#db.query(
      `select b.*, b.seq = s.head and state = 'committed' as is_last,
         b.seq = s.baseline and state = 'committed' as is_last_full,
         state in ${ACTIVE} as is_active
       from sources s cross join lateral (
         select * from backups where source = s.id and (seq in (s.head, s.baseline) or state in ${ACTIVE})
         union all (select * from backups where source = s.id and seq > s.head and state in ('failed', 'fenced')
           order by seq desc limit 1)) b
       where s.id = any($1)`,
      [sources.map(({ id }) => id)],
    );
    const bySource = Map.groupBy(rows, ({ source }) => source as number);
    return sources.map((source) => {
      const own = bySource.get(source.id) ?? [];
      const first = (is: (row: (typeof own)[number]) => boolean) => {
        const row = own.find(is);
        return row && backupOf(row);
      };
      return {
        source,
        last: first((row) => row.is_last),
        lastFull: first((row) => row.is_last_full),
        active: first((row) => row.is_active),
        failed: first((row) => ['failed', 'fenced'].includes(row.state)),
      };
    });
  }

  async problems(
    sourceId: number,
    seq: number,
    { after, limit }: Parameters<CatalogueTable['problems']>[2],
  ): Promise<ProblemRow[]> {
    const { rows } = await this.#db.query(
      `select dir_path, name, code from problems
       where source = $1 and seq = $2 and ($3 or (dir_path, name) > ($4, $5))
       order by dir_path, name limit $6`,
      [sourceId, seq, after === undefined, after?.dir ?? EMPTY, after?.name ?? EMPTY, limit],
    );
    return rows.map(({ dir_path: dir, name, code }) => ({ dir, name, code }));
  }

  async agents({ afterUid, limit }: Parameters<CatalogueTable['agents']>[0]): Promise<AgentRow[]> {
    const { rows } = await this.#db.query(
      `select ${AGENT_COLUMNS} from agents
       where $1::uuid is null or (enrolled_at, uid) > (select enrolled_at, uid from agents where uid = $1)
       order by enrolled_at, uid limit $2`,
      [afterUid ?? null, limit],
    );
    return rows.map(agentOf);
  }
}
