import type { PoolClient } from 'pg';
import { TmError } from '../../model/errors.ts';
import type { BlockRow, BlocksTable, LiveFrame, PackUse } from '../port.ts';
import { PLACE_BYTES } from '../port-blocks.ts';
import { CopyRows } from './copy-rows.ts';
import type { Database } from './database.ts';
import { packUse } from './pack-use.ts';

const IDS_A_QUERY = 1000;
const UNIQUE_VIOLATION = '23505';
const BLOCK = 'b.id, p.pack, b.frame_offset, b.frame_length, b.at, b.length, b.kind, b.children';

/**
 * $2: ids behind one another, $3: how many. Gives the numbers (int2send) of those that are there, as one value; ids go
 * and come in binary, and each is looked up by the primary key.
 */
const PRESENT = `
  select coalesce(string_agg(int2send(n::int2), ''), '') as found
  from generate_series(0, $3::int - 1) n cross join lateral (
    select 1 from blocks b join packs p on p.id = b.pack
    where b.domain = $1 and b.id = substring($2::bytea from n * 32 + 1 for 32) and not b.damaged and p.state = 'ready'
    limit 1) there`;

/**
 * $2: ids behind one another, $3: how many. Gives the place of each that is there, as one value: its number (int2send),
 * pack id and four numbers (int4send). Text and rows of objects cost several times as much.
 */
const PLACES = `
  select coalesce(string_agg(int2send(n::int2) || place, ''), '') as found
  from generate_series(0, $3::int - 1) n cross join lateral (
    select p.pack || int4send(b.frame_offset) || int4send(b.frame_length) || int4send(b.at) || int4send(b.length) as place
    from blocks b join packs p on p.id = b.pack
    where b.domain = $1 and b.id = substring($2::bytea from n * 32 + 1 for 32) limit 1) there`;

/** Unless it is damaged or in a pack that is going. */
const FIRST_LOCATION_STAYS = `on conflict (domain, id) do update set pack = excluded.pack,
    frame_offset = excluded.frame_offset, frame_length = excluded.frame_length, at = excluded.at, damaged = false
  where blocks.damaged or (select state from packs where packs.id = blocks.pack) is distinct from 'ready'`;

const FEW_BLOCKS = 64;
/** $1: domain, $2: pack, the rest its blocks, a column each. No row where the pack was collected. */
const FINISH = `
  with finished as (
    update packs set state = 'ready' where domain = $1 and pack = $2 and state in ('writing', 'ready') returning id),
  placed as (
    insert into blocks (domain, id, pack, frame_offset, frame_length, at, length, kind, damaged, children)
    select distinct on (b.id) $1, b.id, f.id, frame_offset, frame_length, at, length, kind, false, children
    from finished f, unnest($3::bytea[], $4::int[], $5::int[], $6::int[], $7::int[], $8::int2[], $9::bytea[])
      as b(id, frame_offset, frame_length, at, length, kind, children)
    order by b.id ${FIRST_LOCATION_STAYS})
  select id from finished`;

/** Since its backup was taken for dead: its object may be gone, so it must not be believed in. */
const collected = (pack: Buffer): TmError =>
  new TmError('TM1502', `pack ${pack.toString('hex')} was collected`);

type PackState = 'writing' | 'ready' | 'condemned';

interface Row {
  id: Buffer;
  pack: Buffer;
  frame_offset: number;
  frame_length: number;
  at: number;
  length: number;
  kind: number;
  children: Buffer;
}

const blockOf = (row: Row): BlockRow => ({
  id: row.id,
  pack: row.pack,
  frameOffset: row.frame_offset,
  frameLength: row.frame_length,
  offset: row.at,
  length: row.length,
  kind: row.kind,
  children: row.children,
});

function* slices<T>(all: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < all.length; at += IDS_A_QUERY) yield all.slice(at, at + IDS_A_QUERY);
}

/** From what PLACES gives, whose numbers are big-endian. */
function copyPlaces(found: Buffer, places: Buffer, first: number): void {
  for (let from = 0; from < found.length; from += 2 + PLACE_BYTES) {
    const to = (first + found.readUInt16BE(from)) * PLACE_BYTES;
    found.copy(places, to, from + 2, from + 34);
    for (let at = 32; at < PLACE_BYTES; at += 4)
      places.writeUInt32LE(found.readUInt32BE(from + 2 + at), to + at);
  }
}

export class PostgresBlocks implements BlocksTable {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  async present(domain: string, ids: Buffer): Promise<Uint8Array> {
    const present = new Uint8Array(ids.length / 32);
    for (let first = 0; first < present.length; first += IDS_A_QUERY) {
      const some = ids.subarray(first * 32, (first + IDS_A_QUERY) * 32);
      const { rows } = await this.#db.prepared('present', PRESENT, [domain, some, some.length / 32]);
      const found: Buffer = rows[0].found;
      for (let i = 0; i < found.length; i += 2) present[first + found.readUInt16BE(i)] = 1;
    }
    return present;
  }

  async *presentIds(domain: string, most: number): AsyncGenerator<Buffer[]> {
    yield* this.#db.pages(
      `select b.id from blocks b join packs p on p.id = b.pack
       where b.domain = $1 and not b.damaged and p.state = 'ready' limit $2`,
      [domain, most],
      (row) => row.bytes(0),
    );
  }

  async locate(domain: string, ids: readonly Buffer[]): Promise<(BlockRow | undefined)[]> {
    const found = new Map<string, BlockRow>();
    for (const some of slices(ids)) {
      const { rows } = await this.#db.prepared(
        'locate',
        `select ${BLOCK} from blocks b join packs p on p.id = b.pack where b.domain = $1 and b.id = any($2::bytea[])`,
        [domain, some],
      );
      for (const row of rows) found.set((row.id as Buffer).toString('latin1'), blockOf(row));
    }
    return ids.map((id) => found.get(id.toString('latin1')));
  }

  async places(domain: string, ids: Buffer): Promise<Buffer> {
    const places = Buffer.from(new ArrayBuffer((ids.length / 32) * PLACE_BYTES));
    for (let first = 0; first < ids.length / 32; first += IDS_A_QUERY) {
      const some = ids.subarray(first * 32, (first + IDS_A_QUERY) * 32);
      const { rows } = await this.#db.prepared('places', PLACES, [domain, some, some.length / 32]);
      copyPlaces(rows[0].found, places, first);
    }
    return places;
  }

  async beginPack(domain: string, pack: { id: Buffer; size: number }): Promise<void> {
    await this.#db.query(
      `insert into packs (domain, pack, size, state) values ($1, $2, $3, 'writing') on conflict (pack) do nothing`,
      [domain, pack.id, pack.size],
    );
  }

  async finishPack(
    domain: string,
    pack: { id: Buffer; size: number },
    blocks: readonly BlockRow[],
  ): Promise<void> {
    if (blocks.length <= FEW_BLOCKS) return this.#finishSmall(domain, pack.id, blocks);
    await this.#db.transaction(async (client) => {
      const { rows } = await client.query(
        `update packs set state = 'ready' where domain = $1 and pack = $2 and state in ('writing', 'ready') returning id`,
        [domain, pack.id],
      );
      if (rows.length === 0) throw collected(pack.id);
      const packNo = rows[0].id as number;
      await client.query('savepoint copy');
      try {
        await copyBlocks(client, 'blocks', domain, packNo, blocks);
      } catch (error) {
        if ((error as { code?: string }).code !== UNIQUE_VIOLATION) throw error;
        await client.query('rollback to savepoint copy');
        await this.#merge(client, domain, packNo, blocks);
      }
    });
  }

  /** As one statement: a pack of a micro-differential has a handful of blocks. */
  async #finishSmall(domain: string, pack: Buffer, blocks: readonly BlockRow[]): Promise<void> {
    const column = <T>(of: (block: BlockRow) => T): T[] => blocks.map(of);
    const { rows } = await this.#db.prepared('finish', FINISH, [
      domain,
      pack,
      column(({ id }) => id),
      column(({ frameOffset }) => frameOffset),
      column(({ frameLength }) => frameLength),
      column(({ offset }) => offset),
      column(({ length }) => length),
      column(({ kind }) => kind),
      column(({ children }) => children),
    ]);
    if (rows.length === 0) throw collected(pack);
  }

  /** Some of the blocks have a location already. */
  async #merge(
    client: PoolClient,
    domain: string,
    packNo: number,
    blocks: readonly BlockRow[],
  ): Promise<void> {
    await client.query('create temp table new_blocks (like blocks) on commit drop');
    await copyBlocks(client, 'new_blocks', domain, packNo, blocks);
    await client.query(
      `insert into blocks select distinct on (id) * from new_blocks order by id ${FIRST_LOCATION_STAYS}`,
    );
  }

  async *packs(
    domain?: string,
  ): AsyncGenerator<{ id: Buffer; size: number; state: PackState; domain: string }[]> {
    const which = domain === undefined ? '' : 'where domain = $1';
    yield* this.#db.pages(
      `select pack, size, state, domain from packs ${which} order by pack`,
      domain === undefined ? [] : [domain],
      (row) => ({
        id: row.bytes(0),
        size: row.int8(1),
        state: row.text(2) as PackState,
        domain: row.text(3),
      }),
    );
  }

  async packCount(domain: string): Promise<number> {
    const { rows } = await this.#db.query('select count(*) as count from packs where domain = $1', [domain]);
    return rows[0].count;
  }

  async blocksOf(domain: string, pack: Buffer): Promise<BlockRow[]> {
    const { rows } = await this.#db.query(
      `select ${BLOCK} from blocks b join packs p on p.id = b.pack where b.domain = $1 and p.pack = $2 order by b.frame_offset, b.at`,
      [domain, pack],
    );
    return rows.map(blockOf);
  }

  unreferencedPacks(
    domain: string,
    live: AsyncIterable<readonly Buffer[]>,
    runs: readonly LiveFrame[],
  ): Promise<PackUse> {
    return packUse(this.#db, domain, live, runs);
  }

  async unfinishedPacks(domain: string): Promise<Buffer[]> {
    const { rows } = await this.#db.query(
      `select pack from packs where domain = $1 and state = 'writing' order by pack`,
      [domain],
    );
    return rows.map((row) => row.pack as Buffer);
  }

  async unknownPacks(ids: readonly Buffer[]): Promise<Buffer[]> {
    const known = new Set<string>();
    for (const some of slices(ids)) {
      const { rows } = await this.#db.query('select pack from packs where pack = any($1::bytea[])', [some]);
      for (const row of rows) known.add((row.pack as Buffer).toString('latin1'));
    }
    return ids.filter((id) => !known.has(id.toString('latin1')));
  }

  async condemn(domain: string, packs: readonly Buffer[]): Promise<void> {
    await this.#db.query(
      `update packs set state = 'condemned' where domain = $1 and pack = any($2::bytea[])`,
      [domain, packs],
    );
  }

  async forgetPack(domain: string, pack: Buffer): Promise<void> {
    await this.#db.transaction(async (client) => {
      const { rows } = await client.query(
        `select id from packs where domain = $1 and pack = $2 and state = 'condemned' for update`,
        [domain, pack],
      );
      if (rows.length === 0) return;
      // Locked in the order in which finishPack moves blocks to new packs, so that the two never wait for each other.
      await client.query(
        `with old as (select domain, id from blocks where pack = $1 order by domain, id for update)
         delete from blocks b using old where b.domain = old.domain and b.id = old.id and b.pack = $1`,
        [rows[0].id],
      );
      await client.query('delete from packs where id = $1', [rows[0].id]);
    });
  }

  async hasDamage(domain: string): Promise<boolean> {
    const { rows } = await this.#db.query(
      'select exists (select 1 from blocks where domain = $1 and damaged) as found',
      [domain],
    );
    return rows[0].found;
  }

  async markDamaged(domain: string, ids: readonly Buffer[]): Promise<void> {
    await this.#db.query('update blocks set damaged = true where domain = $1 and id = any($2::bytea[])', [
      domain,
      ids,
    ]);
  }
}

/**
 * Numbers of the blocks in the order of their ids: by their first 32 bits, with which a block's number makes one float
 * that is exact, and by the rest where those are equal.
 */
function orderOf(blocks: readonly BlockRow[]): number[] {
  const places = 2 ** 21;
  if (blocks.length > places) throw new TmError('TM1099', `${blocks.length} blocks at once`);
  const keys = Float64Array.from(blocks, ({ id }, i) => id.readUInt32BE(0) * places + i).sort();
  const order = Array.from(keys, (key) => key % places);
  const isWrong = (n: number) => Buffer.compare(blocks[order[n - 1]!]!.id, blocks[order[n]!]!.id) > 0;
  for (let from = 1; from < order.length; from++)
    for (let n = from; n > 0 && isWrong(n); n--) [order[n - 1], order[n]] = [order[n]!, order[n - 1]!];
  return order;
}

/** In the order of ids, so that two transactions with the same blocks wait for each other in one direction only. */
async function copyBlocks(
  client: PoolClient,
  table: string,
  domain: string,
  packNo: number,
  blocks: readonly BlockRow[],
): Promise<void> {
  const copy = new CopyRows(client, table);
  const domainText = Buffer.from(domain);
  for (const i of orderOf(blocks)) {
    const block = blocks[i]!;
    copy
      .row(10)
      .bytes(domainText)
      .bytes(block.id)
      .int4(packNo)
      .int4(block.frameOffset)
      .int4(block.frameLength);
    copy.int4(block.offset).int4(block.length).int2(block.kind).bool(false).bytes(block.children);
  }
  await copy.end();
}
