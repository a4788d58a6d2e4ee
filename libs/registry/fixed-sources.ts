import { TmError } from '../model/errors.ts';
import type { Registry, SourceRow } from './port.ts';

/** What never changes of a source. */
export type FixedSource = Pick<SourceRow, 'id' | 'uid' | 'agent' | 'agentUid' | 'root' | 'key' | 'domain'>;

/** Sources by number, each asked for once. A registry that names one and does not have it is damaged (TM1303). */
export function fixedSources({
  catalogue,
}: Pick<Registry, 'catalogue'>): (id: number) => Promise<FixedSource> {
  const known = new Map<number, FixedSource>();
  return async (id) => {
    const there = known.get(id);
    if (there) return there;
    const source = await catalogue.source({ id });
    if (!source) throw new TmError('TM1303', `source ${id} is not in the registry`);
    known.set(id, source);
    return source;
  };
}
