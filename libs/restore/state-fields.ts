import type { EntryType } from '../model/entry.ts';

/** Fields of an encoded state (model/entry.ts) that are read without decoding the rest. */
const MODE_AT = 2;
const SIZE_AT = 24;
export const LINK_GROUP_AT = 32;

export const typeOf = (state: Buffer): EntryType => state[0] as EntryType;
export const modeOf = (state: Buffer): number => state.readUInt16LE(MODE_AT);
export const sizeOf = (state: Buffer): number =>
  state.readUInt32LE(SIZE_AT) + state.readUInt32LE(SIZE_AT + 4) * 2 ** 32;
export const linkGroupOf = (state: Buffer): bigint => state.readBigUInt64LE(LINK_GROUP_AT);
/** Whether it belongs to no link group. */
export const isOneName = (state: Buffer): boolean =>
  state.readUInt32LE(LINK_GROUP_AT) === 0 && state.readUInt32LE(LINK_GROUP_AT + 4) === 0;
