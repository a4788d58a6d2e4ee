import { TmError } from '../model/errors.ts';

/** What to read of an object of `size` bytes; TM1206 for what reaches beyond its end, before anything is allocated. */
export function checkRange(
  name: string,
  size: number,
  range: { offset: number; length: number } = { offset: 0, length: size },
): { offset: number; length: number } {
  const { offset, length } = range;
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  if (whole && offset + length <= size) return range;
  throw new TmError('TM1206', `${name} has ${size} bytes, ${length} were wanted from ${offset}`);
}
