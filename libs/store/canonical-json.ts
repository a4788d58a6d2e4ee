import { TmError } from '../model/errors.ts';

/**
 * JSON of which equal values have equal bytes: keys ascending by UTF-16 unit, no white space, fields that are
 * undefined left out, whole numbers up to 2^53 - 1 only.
 */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value === 'object' && value !== null) return canonicalObject(value);
  const scalar = value === null || typeof value === 'string' || typeof value === 'boolean';
  if (scalar || Number.isSafeInteger(value)) return JSON.stringify(value);
  throw new TmError('TM1099', `${typeof value} ${String(value)} has no canonical JSON`);
}

function canonicalObject(value: object): string {
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, field]) => `${JSON.stringify(key)}:${canonicalJson(field)}`);
  return `{${fields.join(',')}}`;
}
