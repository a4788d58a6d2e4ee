import type { Registry } from '../registry/port.ts';
import { listWriters, verifyChain } from '../store/journal.ts';
import { isKnownGap } from '../store/journal-gap.ts';
import { ownerName, readClaims } from '../store/owner.ts';
import type { Store } from '../store/port.ts';
import type { OnFinding } from './finding.ts';

/**
 * Every writer's chain, up to what the registry has taken in of it, and the claims of owners. What was lost before the
 * newest owner claimed the store, and it knows of, is a notice.
 */
export async function verifyJournal(registry: Registry, store: Store, onFinding: OnFinding): Promise<void> {
  const { owners, lost } = await readClaims(store);
  const { gaps = [], lostClaims = [] } = owners.at(-1) ?? {};
  for (const [generation, { code, message }] of lost)
    onFinding({ code, object: ownerName(generation), message, ...noticeIf(lostClaims.includes(generation)) });
  const heads = new Map((await registry.journal.heads()).map((head) => [head.writer, head]));
  const writers = new Set([...(await listWriters(store)), ...heads.keys()]);
  for (const writer of writers)
    for (const { object, problem, gap } of await verifyChain(store, writer, heads.get(writer)))
      onFinding({
        code: 'TM1212',
        object,
        message: `${object} ${problem}`,
        ...noticeIf(gap !== undefined && isKnownGap(gaps, gap)),
      });
}

const noticeIf = (known: boolean): { notice?: true } => (known ? { notice: true } : {});
