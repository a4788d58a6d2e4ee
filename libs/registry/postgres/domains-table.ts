import type { DomainKeys } from '../../blocks/keys.ts';
import { TmError } from '../../model/errors.ts';
import type { DomainsTable } from '../port.ts';
import type { Database } from './database.ts';

const COLUMNS = 'uid as id, recipient, dedup_key as "dedupKey", digest_key as "digestKey"';

export class PostgresDomains implements DomainsTable {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  async add(domain: DomainKeys): Promise<void> {
    const { id, recipient, dedupKey, digestKey } = domain;
    if (await this.#isKnown(domain)) return;
    await this.#db.query(
      `insert into domains (uid, recipient, dedup_key, digest_key) values ($1, $2, $3, $4) on conflict do nothing`,
      [id, recipient, dedupKey, digestKey],
    );
    await this.#isKnown(domain);
  }

  async #isKnown({ id, recipient, dedupKey, digestKey }: DomainKeys): Promise<boolean> {
    const known = await this.get(id);
    if (!known) return false;
    const same =
      known.recipient === recipient && known.dedupKey.equals(dedupKey) && known.digestKey.equals(digestKey);
    if (!same) throw new TmError('TM1303', `domain ${id} is known with other keys`);
    return true;
  }

  async get(uid: string): Promise<DomainKeys | undefined> {
    return (await this.#db.query(`select ${COLUMNS} from domains where uid = $1`, [uid])).rows[0];
  }

  async list(): Promise<DomainKeys[]> {
    return (await this.#db.query(`select ${COLUMNS} from domains order by added_at, uid`)).rows;
  }
}
