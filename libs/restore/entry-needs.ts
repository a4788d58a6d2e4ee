import type { ReadBlock } from '../blocks/recipe-reader.ts';
import type { EntryState } from '../model/entry.ts';
import type { Attribute } from './attributes.ts';
import { allPieces } from './content.ts';
import type { Piece } from './pieces.ts';

/** Values of extended attributes; long ones are blocks and are read. */
export async function attributesOf(state: Pick<EntryState, 'xattrs'>, read: ReadBlock): Promise<Attribute[]> {
  const values: Attribute[] = [];
  for (const { name, value } of state.xattrs) {
    const bytes = value instanceof Uint8Array ? value : await read(Buffer.from(value.id), value.length);
    values.push({ name, value: bytes });
  }
  return values;
}

/** What is needed to write an entry besides its state. */
export interface EntryNeeds {
  readonly xattrs: readonly Attribute[];
  readonly pieces: readonly Piece[];
}

export async function needsOf(state: EntryState, read: ReadBlock): Promise<EntryNeeds> {
  const xattrs = await attributesOf(state, read);
  return { xattrs, pieces: await allPieces(state, read) };
}
