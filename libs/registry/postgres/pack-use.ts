import type { PoolClient } from 'pg';
import type { LiveFrame, PackUse } from '../port.ts';
import { type Database, translated } from './database.ts';

/** Temporary tables of one connection: no transaction lasts as long as the whole. */
const TABLES = `
  create temp table live (id bytea primary key, level int not null);
  create temp table live_frames (pack int not null, frame_offset int not null, primary key (pack, frame_offset))`;

/** Marks live blocks and frames, and tells what is left over. */
export async function packUse(
  db: Database,
  domain: string,
  live: AsyncIterable<readonly Buffer[]>,
  runs: readonly LiveFrame[],
): Promise<PackUse> {
  const client = await db.connect();
  let broken = true;
  try {
    await client.query(TABLES);
    for await (const ids of live)
      await client.query('insert into live select unnest($1::bytea[]), 0 on conflict do nothing', [ids]);
    await addChildren(client, domain);
    await addFrames(client, domain, runs);
    const use = { ...(await unknownBlocks(client, domain)), ...(await deadPacks(client, domain)) };
    await client.query('drop table live, live_frames');
    broken = false;
    return use;
  } catch (error) {
    throw translated(error);
  } finally {
    client.release(broken);
  }
}

/** Recipe blocks keep their children, level by level. */
async function addChildren(client: PoolClient, domain: string): Promise<void> {
  await client.query('analyze live');
  for (let level = 0, added: number | null = 1; added; level++) {
    const { rowCount } = await client.query(
      `insert into live select distinct substring(b.children from n * 32 + 1 for 32), $2::int + 1
       from live l join blocks b on b.domain = $1 and b.id = l.id
         cross join lateral generate_series(0, length(b.children) / 32 - 1) n
       where l.level = $2 and length(b.children) > 0 on conflict do nothing`,
      [domain, level],
    );
    added = rowCount;
  }
}

async function addFrames(client: PoolClient, domain: string, runs: readonly LiveFrame[]): Promise<void> {
  await client.query('analyze live');
  await client.query(
    `insert into live_frames select distinct b.pack, b.frame_offset from blocks b join live l on l.id = b.id
     where b.domain = $1`,
    [domain],
  );
  await client.query(
    `insert into live_frames select p.id, r.at from unnest($2::bytea[], $3::int[]) as r(pack, at)
     join packs p on p.pack = r.pack and p.domain = $1 on conflict do nothing`,
    [domain, runs.map((one) => one.pack), runs.map((one) => one.frameOffset)],
  );
  await client.query('analyze live_frames');
}

async function unknownBlocks(client: PoolClient, domain: string): Promise<Pick<PackUse, 'unknown'>> {
  const { rows } = await client.query(
    'select id from live l where not exists (select 1 from blocks b where b.domain = $1 and b.id = l.id) limit 1',
    [domain],
  );
  return { unknown: rows[0]?.id };
}

async function deadPacks(client: PoolClient, domain: string): Promise<Pick<PackUse, 'dead' | 'idleBytes'>> {
  const { rows: dead } = await client.query(
    `select p.pack as id, p.size from packs p where p.domain = $1 and p.state in ('ready', 'condemned')
       and not exists (select 1 from live_frames f where f.pack = p.id) order by p.pack`,
    [domain],
  );
  const { rows } = await client.query(
    `select coalesce(sum(length), 0)::bigint as bytes from (
       select pack, frame_offset, max(frame_length) as length from blocks where domain = $1 group by pack, frame_offset) a
     where exists (select 1 from live_frames f where f.pack = a.pack)
       and not exists (select 1 from live_frames f where f.pack = a.pack and f.frame_offset = a.frame_offset)`,
    [domain],
  );
  return { dead, idleBytes: rows[0].bytes };
}
