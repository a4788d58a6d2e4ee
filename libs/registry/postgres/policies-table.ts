import { TmError } from '../../model/errors.ts';
import type { PoliciesTable, PolicyRow } from '../port.ts';
import type { Database } from './database.ts';

const ROWS = `select s.id as "sourceId", p.policy, p.updated_at as "updatedAt"
  from policies p join sources s on s.uid = p.source`;

/** Rows go by the source's uid, which it has again after a rebuild. */
export class PostgresPolicies implements PoliciesTable {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  async get(sourceId: number): Promise<PolicyRow | undefined> {
    return (await this.#db.query(`${ROWS} where s.id = $1`, [sourceId])).rows[0];
  }

  async set(sourceId: number, policy: object): Promise<PolicyRow> {
    await this.#db.query(
      `insert into policies (source, policy, updated_at)
       select uid, $2, clock_timestamp() from sources where id = $1
       on conflict (source) do update set policy = excluded.policy, updated_at = excluded.updated_at`,
      [sourceId, JSON.stringify(policy)],
    );
    const row = await this.get(sourceId);
    if (!row) throw new TmError('TM1811', `source ${sourceId}`);
    return row;
  }

  async delete(sourceId: number): Promise<boolean> {
    const { rowCount } = await this.#db.query(
      'delete from policies using sources s where source = s.uid and s.id = $1',
      [sourceId],
    );
    return rowCount === 1;
  }

  async list(page?: { readonly afterId: number; readonly limit: number }): Promise<PolicyRow[]> {
    const values = [page?.afterId ?? 0, page?.limit ?? null];
    return (await this.#db.query(`${ROWS} where s.id > $1 order by s.id limit $2`, values)).rows;
  }
}
