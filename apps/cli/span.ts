import { TmError } from '../../libs/model/errors.ts';
import { parseShortSpan } from '../../libs/model/short-span.ts';

/** Milliseconds of `500ms`, `5s`, `2min`, `1h`, for an option of that name. */
export function spanOf(option: string, text: string): number {
  const ms = parseShortSpan(text);
  if (ms !== undefined) return ms;
  throw new TmError('TM1002', `${option} ${text}: expected is a span such as 500ms, 5s, 2min or 1h`);
}
