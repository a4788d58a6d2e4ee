import {
  encodeHoles,
  encodeRecipeBlock,
  type Hole,
  MAX_INLINE_HOLES,
  MAX_INLINE_ITEMS,
  MAX_RECIPE_CHILDREN,
  type Recipe,
  type RecipeItem,
} from '../model/entry.ts';
import { BlockKind } from './intake.ts';

/** Takes a block that is to be stored and gives its id. */
export type EmitBlock = (kind: BlockKind, bytes: Buffer, children: Buffer) => Buffer;

const MIN_CHILDREN = 64;

/**
 * Items of one file, in order. Above 64 they are grouped into recipe blocks, level over level. Groups end where an
 * item's id says so, so that an insertion into a huge file changes few of them.
 */
export class RecipeBuilder {
  readonly #emit: EmitBlock;
  readonly #levels: RecipeItem[][] = [[]];

  constructor(emit: EmitBlock) {
    this.#emit = emit;
  }

  add(item: RecipeItem, level = 0): void {
    const items = this.#levels[level]!;
    items.push(item);
    if (items.length >= MAX_RECIPE_CHILDREN || (items.length > MIN_CHILDREN && endsGroup(item)))
      this.#close(level);
  }

  /** Makes a recipe block of a level's items and adds it to the level above. */
  #close(level: number): void {
    const items = this.#levels[level]!;
    this.#levels[level] = [];
    if (this.#levels.length === level + 1) this.#levels.push([]);
    const bytes = encodeRecipeBlock(items);
    const children = Buffer.concat(items.flatMap((item) => (item.kind === 'zeros' ? [] : [item.id])));
    const length = items.reduce((sum, item) => sum + item.length, 0);
    const id = this.#emit(BlockKind.recipe, bytes, children);
    this.add({ kind: 'recipe', id, length, blockLength: bytes.length }, level + 1);
  }

  finish(holes: readonly Hole[]): Recipe {
    let level = 0;
    for (; level < this.#levels.length - 1; level++) if (this.#levels[level]!.length > 0) this.#close(level);
    while (this.#levels[level]!.length > MAX_INLINE_ITEMS) {
      this.#close(level);
      level++;
    }
    const items = this.#levels[level]!;
    return { depth: level, items, holes: this.#holes(holes) };
  }

  #holes(holes: readonly Hole[]): Recipe['holes'] {
    if (holes.length <= MAX_INLINE_HOLES) return { kind: 'inline', holes };
    const bytes = encodeHoles(holes).finish();
    return {
      kind: 'block',
      id: this.#emit(BlockKind.holes, bytes, Buffer.alloc(0)),
      blockLength: bytes.length,
    };
  }
}

const endsGroup = (item: RecipeItem): boolean => item.kind !== 'zeros' && item.id.readUInt16LE(0) % 256 === 0;
