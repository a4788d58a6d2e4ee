import type { BlockLocation } from '../blocks/intake.ts';

export interface BlockRow extends BlockLocation {
  readonly id: Buffer;
  readonly kind: number;
  readonly children: Buffer;
}

/** Of what `places` gives. */
export const PLACE_BYTES = 48;

/** A frame of a pack, by where it begins. */
export interface LiveFrame {
  readonly pack: Buffer;
  readonly frameOffset: number;
}

export interface PackUse {
  /** Finished or condemned packs in which nothing live lies. */
  readonly dead: readonly { readonly id: Buffer; readonly size: number }[];
  /** Stored bytes of frames without anything live, in packs that hold live ones too. */
  readonly idleBytes: number;
  /** A live block that no row knows of: damage. */
  readonly unknown: Buffer | undefined;
}

/** Blocks and packs of the domains. */
export interface BlocksTable {
  /** n ids of 32 bytes each; gives n bytes, 1 where present (and neither condemned nor damaged). One query per 1,000. */
  present(domain: string, ids: Buffer): Promise<Uint8Array>;
  /** Ids of blocks that are present, in no order and of one moment; at most `most`. */
  presentIds(domain: string, most: number): AsyncIterable<Buffer[]>;
  /** Locations in the order asked; undefined where unknown. */
  locate(domain: string, ids: readonly Buffer[]): Promise<(BlockRow | undefined)[]>;
  /**
   * As `locate`, for many blocks that are to be read. `ids`: n × 32 bytes; gives n × PLACE_BYTES: pack id, then u32
   * (little-endian) frame offset, frame length (0: unknown block), offset and length in the frame's plaintext.
   */
  places(domain: string, ids: Buffer): Promise<Buffer>;
  /** A row (writing) before the object is put. */
  beginPack(domain: string, pack: { id: Buffer; size: number }): Promise<void>;
  /**
   * writing → ready with its blocks, one transaction. A block that has a location keeps it, unless it is damaged or
   * condemned. Idempotent. Throws TM1502 where the pack was not begun, or was condemned meanwhile.
   */
  finishPack(
    domain: string,
    pack: { id: Buffer; size: number; keys: readonly Buffer[] },
    blocks: readonly BlockRow[],
  ): Promise<void>;
  /** In the order of their ids; without a domain those of all. */
  packs(
    domain?: string,
  ): AsyncIterable<{ id: Buffer; size: number; state: 'writing' | 'ready' | 'condemned'; domain: string }[]>;
  /** Packs of the domain in any state. */
  packCount(domain: string): Promise<number>;
  /** Blocks of one pack by their first location, by frame and offset. */
  blocksOf(domain: string, pack: Buffer): Promise<BlockRow[]>;
  /**
   * What is left over when the live blocks, with all children of recipe blocks, and the live runs' frames are marked.
   * Meaningful only while no backup is under way.
   */
  unreferencedPacks(
    domain: string,
    live: AsyncIterable<readonly Buffer[]>,
    runs: readonly LiveFrame[],
  ): Promise<PackUse>;
  /** Packs that were begun and not finished. */
  unfinishedPacks(domain: string): Promise<Buffer[]>;
  /** Those of the ids that no domain has a row of. */
  unknownPacks(ids: readonly Buffer[]): Promise<Buffer[]>;
  /** Durable before the first object goes: from now on the packs' blocks count as missing, and `finishPack` refuses them. */
  condemn(domain: string, packs: readonly Buffer[]): Promise<void>;
  /** Removes the rows of a condemned pack, whose object is gone; blocks that were put anew meanwhile stay. Idempotent. */
  forgetPack(domain: string, pack: Buffer): Promise<void>;
  /** Whether any block of the domain is marked damaged. */
  hasDamage(domain: string): Promise<boolean>;
  /** Marks blocks damaged: they count as missing and are put anew by the next backup that has them. */
  markDamaged(domain: string, ids: readonly Buffer[]): Promise<void>;
}
