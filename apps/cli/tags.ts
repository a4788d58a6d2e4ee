import { TmError } from '../../libs/model/errors.ts';

/** K=V pairs; the last of a key counts. */
export function parseTags(pairs: readonly string[]): Record<string, string> {
  const tags: Record<string, string> = {};
  for (const pair of pairs) {
    const cut = pair.indexOf('=');
    if (cut < 1) throw new TmError('TM1002', `tag ${JSON.stringify(pair)}: K=V is expected`);
    Object.defineProperty(tags, pair.slice(0, cut), {
      value: pair.slice(cut + 1),
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return tags;
}
