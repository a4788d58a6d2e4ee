import { ByteReader } from '../model/byte-reader.ts';
import { decodeHoles, decodeRecipeBlock, type Hole, type Recipe, type RecipeItem } from '../model/entry.ts';
import { TmError } from '../model/errors.ts';

/** Gives a block's plaintext, checked against its id. */
export type ReadBlock = (id: Buffer, length: number) => Promise<Buffer>;

export type ContentItem = Exclude<RecipeItem, { kind: 'recipe' }>;

/** Blocks and zeros of a file's data stream, in order; recipe blocks are read as they are reached. */
export async function* recipeItems(
  recipe: Pick<Recipe, 'depth' | 'items'>,
  read: ReadBlock,
): AsyncGenerator<ContentItem> {
  for (const item of recipe.items) {
    if (item.kind !== 'recipe') {
      if (recipe.depth !== 0 && item.kind === 'block')
        throw new TmError('TM1605', 'a block where a recipe block belongs');
      yield item;
      continue;
    }
    if (recipe.depth === 0) throw new TmError('TM1605', 'a recipe deeper than it says');
    const items = decodeRecipeBlock(await read(item.id, item.blockLength));
    yield* recipeItems({ depth: recipe.depth - 1, items }, read);
  }
}

export async function holesOf(recipe: Recipe, read: ReadBlock): Promise<readonly Hole[]> {
  if (recipe.holes.kind === 'inline') return recipe.holes.holes;
  const input = new ByteReader(await read(recipe.holes.id, recipe.holes.blockLength));
  const holes = decodeHoles(input);
  input.end();
  return holes;
}
