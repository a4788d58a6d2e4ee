import type { Registry } from '../registry/port.ts';
import { listWriters, verifyChain } from '../store/journal.ts';
import { listOwners } from '../store/owner.ts';
import type { Store } from '../store/port.ts';
import { finding, type OnFinding } from './finding.ts';

/** Every writer's chain, up to what the registry has taken in of it, and the claims of owners. */
export async function verifyJournal(registry: Registry, store: Store, onFinding: OnFinding): Promise<void> {
  const heads = new Map((await registry.journal.heads()).map((head) => [head.writer, head]));
  const writers = new Set([...(await listWriters(store)), ...heads.keys()]);
  for (const writer of writers) {
    for (const { object, problem } of await verifyChain(store, writer, heads.get(writer)))
      onFinding({ code: 'TM1212', object, message: `${object} ${problem}` });
  }
  await finding(onFinding, { object: 'owner/' }, async () => {
    await listOwners(store);
  });
}
