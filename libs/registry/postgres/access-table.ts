import { TmError } from '../../model/errors.ts';
import type { AccessTable, AgentRow, NewToken, TokenRow } from '../port.ts';
import type { Row } from './backup-rows.ts';
import type { Database } from './database.ts';

export const AGENT_COLUMNS = `uid, name, domain, enrolled_at as "enrolledAt", instance, instance_seen_at as "instanceSeenAt",
  last_seen_at as "lastSeenAt", revoked_at as "revokedAt"`;

const TOKEN = `t.id, t.kind, t.hash, t.name, t.agent, t.domain, t.created_at as "createdAt", t.expires_at as "expiresAt",
  t.used_at as "usedAt", t.revoked_at as "revokedAt",
  case when t.revoked_at is not null
      or exists (select 1 from agents a where a.uid = t.agent and a.revoked_at is not null) then 'revoked'
    when t.used_at is not null then 'used'
    when t.expires_at <= clock_timestamp() then 'expired' else 'valid' end as state`;

/** Null is how SQL says undefined. */
const rowOf = <T>(row: Row): T =>
  Object.fromEntries(Object.entries(row).map(([key, value]) => [key, value ?? undefined])) as T;

export const agentOf = (row: Row): AgentRow => rowOf(row);

export class PostgresAccess implements AccessTable {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  async createToken({ id, kind, hash, name, agent, domain, seconds }: NewToken): Promise<TokenRow> {
    const { rows } = await this.#db.query(
      `insert into tokens as t (id, kind, hash, name, agent, domain, expires_at)
       values ($1, $2, $3, $4, $5, $6, clock_timestamp() + make_interval(secs => $7)) returning ${TOKEN}`,
      [id, kind, hash, name, agent ?? null, domain ?? null, seconds ?? null],
    );
    return rowOf(rows[0]);
  }

  async findToken(id: string): Promise<TokenRow | undefined> {
    const { rows } = await this.#db.query(`select ${TOKEN} from tokens t where id = $1`, [id]);
    return rows[0] && rowOf(rows[0]);
  }

  async tokens(): Promise<TokenRow[]> {
    const { rows } = await this.#db.query(`select ${TOKEN} from tokens t order by created_at, id`);
    return rows.map((row) => rowOf(row));
  }

  async useEnrolment(id: string): Promise<TokenRow> {
    const { rows } = await this.#db.query(
      `update tokens t set used_at = clock_timestamp()
       where id = $1 and kind = 'enrol' and used_at is null and revoked_at is null
         and (expires_at is null or expires_at > clock_timestamp()) returning ${TOKEN}`,
      [id],
    );
    if (!rows[0]) throw new TmError('TM1804');
    return rowOf(rows[0]);
  }

  async addAgent({ uid, name, domain }: Parameters<AccessTable['addAgent']>[0]): Promise<AgentRow> {
    await this.#db.query(
      'insert into agents (uid, name, domain) values ($1, $2, $3) on conflict (uid) do nothing',
      [uid, name, domain],
    );
    return (await this.agent(uid))!;
  }

  async agent(uid: string): Promise<AgentRow | undefined> {
    const { rows } = await this.#db.query(`select ${AGENT_COLUMNS} from agents where uid = $1`, [uid]);
    return rows[0] && rowOf(rows[0]);
  }

  async agents(): Promise<AgentRow[]> {
    const { rows } = await this.#db.query(`select ${AGENT_COLUMNS} from agents order by enrolled_at, uid`);
    return rows.map((row) => rowOf(row));
  }

  async revoke(what: { readonly token: string } | { readonly agent: string }): Promise<boolean> {
    const [table, key, id] = 'token' in what ? ['tokens', 'id', what.token] : ['agents', 'uid', what.agent];
    const { rowCount } = await this.#db.query(
      `update ${table} set revoked_at = coalesce(revoked_at, clock_timestamp()) where ${key} = $1`,
      [id],
    );
    return rowCount === 1;
  }

  async signOn(agentUid: string, instance: string, silenceSeconds: number): Promise<AgentRow> {
    const { rows } = await this.#db.query(
      `update agents set instance = $2, instance_seen_at = clock_timestamp(), last_seen_at = clock_timestamp()
       where uid = $1 and revoked_at is null and (instance is null or instance = $2
         or instance_seen_at <= clock_timestamp() - make_interval(secs => $3)) returning ${AGENT_COLUMNS}`,
      [agentUid, instance, silenceSeconds],
    );
    return rows[0] ? rowOf(rows[0]) : this.#refuse(agentUid);
  }

  async signOff(agentUid: string, instance: string): Promise<void> {
    await this.#db.query(
      'update agents set instance = null, instance_seen_at = null where uid = $1 and instance = $2',
      [agentUid, instance],
    );
  }

  async touch(agentUid: string, instance: string): Promise<void> {
    const { rowCount } = await this.#db.query(
      `update agents set instance_seen_at = clock_timestamp(), last_seen_at = clock_timestamp()
       where uid = $1 and instance = $2 and revoked_at is null`,
      [agentUid, instance],
    );
    if (rowCount !== 1) await this.#refuse(agentUid);
  }

  async #refuse(agentUid: string): Promise<never> {
    const agent = await this.agent(agentUid);
    if (!agent || agent.revokedAt) throw new TmError('TM1801', `agent ${agent?.name ?? agentUid}`);
    throw new TmError('TM1803', `agent ${agent.name}`);
  }
}
