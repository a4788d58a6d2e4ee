import { holesOf, type ReadBlock, recipeItems } from '../blocks/recipe-reader.ts';
import type { EntryState } from '../model/entry.ts';
import { type Piece, PieceLayout } from './pieces.ts';

/** What of a file's content is to be written where, in order; holes are what is not named. */
export async function* piecesOf(state: Pick<EntryState, 'recipe'>, read: ReadBlock): AsyncGenerator<Piece> {
  if (!state.recipe) return;
  const layout = new PieceLayout(await holesOf(state.recipe, read));
  for await (const item of recipeItems(state.recipe, read)) yield* layout.place(item);
}

/** All pieces at once, for a file that is small; most need nothing read. */
export async function allPieces(state: Pick<EntryState, 'recipe'>, read: ReadBlock): Promise<Piece[]> {
  const { recipe } = state;
  const inline = recipe?.depth === 0 && recipe.holes.kind === 'inline' ? recipe.holes.holes : undefined;
  const items = recipe?.items.filter((item) => item.kind !== 'recipe') ?? [];
  if (!inline || items.length !== recipe?.items.length) return Array.fromAsync(piecesOf(state, read));
  const layout = new PieceLayout(inline);
  return items.flatMap((item) => [...layout.place(item)]);
}

const ZEROS = Buffer.alloc(1024 * 1024);

export function* zeros(length: number): Generator<Buffer> {
  for (let left = length; left > 0; left -= ZEROS.length)
    yield ZEROS.subarray(0, Math.min(left, ZEROS.length));
}

/** Content of a file from the first byte to the last, holes as zeros. */
export async function* contentOf(state: EntryState, read: ReadBlock): AsyncGenerator<Buffer> {
  let at = 0;
  for await (const { offset, length, block, from } of piecesOf(state, read)) {
    yield* zeros(offset - at);
    if (block) yield (await read(block.id, block.length)).subarray(from, from + length);
    else yield* zeros(length);
    at = offset + length;
  }
  yield* zeros(state.size - at);
}
