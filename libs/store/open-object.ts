import { z } from 'zod';

/**
 * The schema of a stored JSON object: fields that it does not name are kept, since a later version of the same format
 * may have added them. The type shows the named fields alone.
 */
export function openObject<S extends z.ZodRawShape>(shape: S): z.ZodObject<S> {
  return z.looseObject(shape) as unknown as z.ZodObject<S>;
}

/** A count, seq, length or number: 0 to 2^53 - 1. */
export const whole = z.int().nonnegative();

/** A moment as ISO 8601 in UTC with milliseconds, as `Date.toISOString` gives it. */
export const moment = z.iso.datetime({ precision: 3 });

/** `bytes` bytes as lower-case hex. */
export const hex = (bytes: number): z.ZodString => z.string().regex(new RegExp(`^[0-9a-f]{${bytes * 2}}$`));

/** Makes a schema when it is first asked for: making all of them takes a tenth of a short command's time. */
export function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => {
    made ??= make();
    return made;
  };
}
