import type { ByteWriter } from '../../model/byte-writer.ts';
import {
  decodeHints,
  decodeState,
  type EntryState,
  EntryType,
  encodeHints,
  encodeState,
  type HoleMap,
  type Recipe,
  type RecipeItem,
  type Xattr,
} from '../../model/entry.ts';
import { bytesToJson, type JsonPath } from '../../model/tree-path.ts';
import type { HintsJson, StateJson } from './entry-schema.ts';

type RecipeJson = NonNullable<StateJson['recipe']>;
type ItemJson = RecipeJson['items'][number];
type XattrJson = NonNullable<StateJson['xattrs']>[number];

const EMPTY = Buffer.alloc(0);
const NO_HOLES: HoleMap = { kind: 'inline', holes: [] };
const TYPES = Object.keys(EntryType) as StateJson['type'][];

const base64 = (bytes: Buffer): string => bytes.toString('base64');
const fromBase64 = (text: string): Buffer => Buffer.from(text, 'base64');
export const bytesFromJson = (json: JsonPath): Buffer =>
  typeof json === 'string' ? Buffer.from(json) : fromBase64(json.base64);
export { base64, fromBase64 };

function itemToJson(item: RecipeItem): ItemJson {
  const length = String(item.length);
  if (item.kind === 'zeros') return { kind: 'zeros', length };
  const id = base64(item.id);
  if (item.kind === 'block') return { kind: 'block', id, length };
  return { kind: 'recipe', id, length, blockLength: item.blockLength };
}

function itemFromJson(json: ItemJson): RecipeItem {
  const length = Number(json.length);
  if (json.kind === 'zeros') return { kind: 'zeros', length };
  const id = fromBase64(json.id);
  if (json.kind === 'block') return { kind: 'block', id, length };
  return { kind: 'recipe', id, length, blockLength: json.blockLength };
}

function recipeToJson({ depth, items, holes }: Recipe): RecipeJson {
  const json: RecipeJson = { items: items.map(itemToJson) };
  if (depth > 0) json.depth = depth;
  if (holes.kind === 'block') json.holesBlock = { id: base64(holes.id), length: holes.blockLength };
  else if (holes.holes.length > 0)
    json.holes = holes.holes.map(({ offset, length }) => ({
      offset: String(offset),
      length: String(length),
    }));
  return json;
}

function holesFromJson({ holes, holesBlock }: RecipeJson): HoleMap {
  if (holesBlock) return { kind: 'block', id: fromBase64(holesBlock.id), blockLength: holesBlock.length };
  if (!holes) return NO_HOLES;
  return {
    kind: 'inline',
    holes: holes.map(({ offset, length }) => ({ offset: Number(offset), length: Number(length) })),
  };
}

function recipeFromJson(json: RecipeJson): Recipe {
  return { depth: json.depth ?? 0, items: json.items.map(itemFromJson), holes: holesFromJson(json) };
}

function xattrToJson({ name, value }: Xattr): XattrJson {
  if (value instanceof Uint8Array) return { name: bytesToJson(name), value: base64(value as Buffer) };
  return { name: bytesToJson(name), block: { id: base64(value.id), length: value.length } };
}

function xattrFromJson({ name, value, block }: XattrJson): Xattr {
  if (block) return { name: bytesFromJson(name), value: { id: fromBase64(block.id), length: block.length } };
  return { name: bytesFromJson(name), value: fromBase64(value ?? '') };
}

/** What is zero or empty is left out, so that most entries are short. */
export function stateToJson(bytes: Buffer): StateJson {
  const state = decodeState(bytes);
  const json: StateJson = {
    type: TYPES[state.type - 1]!,
    mode: state.mode,
    uid: state.uid,
    gid: state.gid,
    mtimeSec: String(state.mtimeSec),
    mtimeNsec: state.mtimeNsec,
  };
  if (state.flags !== 0) json.flags = state.flags;
  if (state.user !== '') json.user = state.user;
  if (state.group !== '') json.group = state.group;
  if (state.size !== 0) json.size = String(state.size);
  if (state.linkGroup !== 0n) json.linkGroup = String(state.linkGroup);
  if (state.rdevMajor !== 0) json.rdevMajor = state.rdevMajor;
  if (state.rdevMinor !== 0) json.rdevMinor = state.rdevMinor;
  if (state.target.length > 0) json.target = bytesToJson(state.target);
  if (state.xattrs.length > 0) json.xattrs = state.xattrs.map(xattrToJson);
  if (state.digest) json.digest = base64(state.digest);
  if (state.recipe) json.recipe = recipeToJson(state.recipe);
  return json;
}

export function stateFromJson(json: StateJson, out: ByteWriter): void {
  const state: EntryState = {
    type: EntryType[json.type],
    flags: json.flags ?? 0,
    mode: json.mode,
    uid: json.uid,
    gid: json.gid,
    user: json.user ?? '',
    group: json.group ?? '',
    mtimeSec: BigInt(json.mtimeSec),
    mtimeNsec: json.mtimeNsec,
    size: Number(json.size ?? 0),
    linkGroup: BigInt(json.linkGroup ?? 0),
    rdevMajor: json.rdevMajor ?? 0,
    rdevMinor: json.rdevMinor ?? 0,
    target: json.target === undefined ? EMPTY : bytesFromJson(json.target),
    xattrs: json.xattrs?.map(xattrFromJson) ?? [],
    digest: json.digest === undefined ? undefined : fromBase64(json.digest),
    recipe: json.recipe && recipeFromJson(json.recipe),
  };
  encodeState(state, out);
}

export function hintsToJson(bytes: Buffer): HintsJson {
  const { ctimeSec, ctimeNsec, nlink, dev, ino } = decodeHints(bytes);
  return { ctimeSec: String(ctimeSec), ctimeNsec, nlink, dev: String(dev), ino: String(ino) };
}

export function hintsFromJson({ ctimeSec, ctimeNsec, nlink, dev, ino }: HintsJson, out: ByteWriter): void {
  encodeHints({ ctimeSec: BigInt(ctimeSec), ctimeNsec, nlink, dev: BigInt(dev), ino: BigInt(ino) }, out);
}
