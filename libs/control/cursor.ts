import { z } from 'zod';
import { TmError } from '../model/errors.ts';
import type { EntryKey } from '../registry/port.ts';

/** What `after` of a page holds: opaque to clients, and checked when it comes back. */
export const encodeCursor = (value: unknown): string =>
  Buffer.from(JSON.stringify(value)).toString('base64url');

/** Throws TM1807 for what this version has not made. */
export function decodeCursor<T>(schema: z.ZodType<T>, after: string | undefined): T | undefined {
  if (after === undefined) return undefined;
  try {
    return schema.parse(JSON.parse(Buffer.from(after, 'base64url').toString()));
  } catch (cause) {
    throw new TmError('TM1807', 'query.after: not from a page of this list', { cause });
  }
}

const bytes = z.string().regex(/^[\w-]*$/);
/** Directory and name of the last entry. */
export const KeyCursor = z.tuple([bytes, bytes]);
export type KeyCursor = z.infer<typeof KeyCursor>;

export const cursorOfKey = ({ dir, name }: EntryKey): KeyCursor => [
  dir.toString('base64url'),
  name.toString('base64url'),
];

export const keyOfCursor = (cursor: KeyCursor | undefined): EntryKey | undefined =>
  cursor && { dir: Buffer.from(cursor[0], 'base64url'), name: Buffer.from(cursor[1], 'base64url') };

/** A number of which the list's order is made. */
export const NumberCursor = z.number().int();

/** After a full page of rows in the order of their ids. */
export const nextNumber = (rows: readonly { readonly id: number }[], limit: number): string | null =>
  rows.length < limit ? null : encodeCursor(rows.at(-1)!.id);
