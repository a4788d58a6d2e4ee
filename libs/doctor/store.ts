import { TmError } from '../model/errors.ts';
import { type Finding, failed, failedBy, ok } from './finding.ts';
import { checkSpace, type FolderFacts } from './home.ts';

export interface StoreFacts {
  readonly url: string;
  /** What opening or reading it threw. */
  readonly failure: unknown;
  /** From opening it to its first answer. */
  readonly milliseconds: number | undefined;
  /** Id of the store that is there. */
  readonly storeId: string | undefined;
  /** Registry that owns it, and under which generation. */
  readonly owner: { readonly registryId: string; readonly generation: number } | undefined;
  /** What the registry knows; undefined where it knows no store, 'unknown' where it could not be asked. */
  readonly known:
    | { readonly storeId: string; readonly registryId: string; readonly ownerGeneration: number }
    | 'unknown'
    | undefined;
  /** Of a store in a folder. */
  readonly folder: FolderFacts | undefined;
  /** Folders of the store in which this process may not create files. */
  readonly unwritable: readonly string[];
}

export function checkStore(facts: StoreFacts): Finding[] {
  const findings = isBucket(facts) ? [reachable(facts), identity(facts)] : [identity(facts)];
  if (facts.storeId !== undefined) findings.push(owner(facts));
  if (facts.folder) findings.push(writable(facts), ...checkSpace('store', facts.folder));
  return findings;
}

const isBucket = ({ url }: StoreFacts): boolean => url.startsWith('gs:');

function reachable({ url, failure, milliseconds }: StoreFacts): Finding {
  if (milliseconds === undefined) return failedBy('store-reachable', failure);
  return ok('store-reachable', `${url} answered within ${Math.ceil(milliseconds)} ms`);
}

function identity(facts: StoreFacts): Finding {
  const { url, failure, storeId, known } = facts;
  const isMissing = failure instanceof TmError && failure.code === 'TM1202' && !isBucket(facts);
  if (failure !== undefined && !(isMissing && known === undefined)) return failedBy('store', failure);
  if (storeId === undefined) {
    if (known === undefined) return ok('store', `there is none at ${url} yet; the first backup makes it`);
    return failedBy('store', new TmError('TM1202', url));
  }
  if (known === 'unknown')
    return ok('store', `${url} is store ${storeId}; the registry could not be asked about it`);
  if (known === undefined) return failedBy('store', new TmError('TM1208', url));
  if (known.storeId !== storeId) {
    const detail = `${url} is store ${storeId}, the registry knows ${known.storeId}`;
    return failedBy('store', new TmError('TM1203', detail));
  }
  return ok('store', `${url} is store ${storeId}, the one that the registry knows`);
}

function owner({ owner: is, known }: StoreFacts): Finding {
  const shown = is ? `registry ${is.registryId}, generation ${is.generation}` : 'nobody';
  if (known === 'unknown' || known === undefined) return ok('store-owner', `it is owned by ${shown}`);
  if (is?.registryId === known.registryId) return ok('store-owner', `this registry owns it (${shown})`);
  return failedBy('store-owner', new TmError('TM1207', `it is owned by ${shown}`));
}

function writable({ unwritable, folder }: StoreFacts): Finding {
  if (unwritable.length === 0) return ok('store-writable', `you may create files in ${folder!.path}`);
  const guidance = 'Run Tidemark as the store’s owner, or mount it writable.';
  return failed('store-writable', `you may not create files in ${unwritable.join(', ')}`, guidance);
}
