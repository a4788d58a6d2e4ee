import { BlockKind } from '../blocks/intake.ts';
import { TmError } from '../model/errors.ts';
import { type SealedPolicy, storePolicy } from '../rebuild/sealed-policy.ts';
import type { SourceRow } from '../registry/port.ts';
import type { Cell } from './cell.ts';

/**
 * Makes the policy that `choose` makes of the one before the source's: in the journal, then in the registry. null removes
 * it; undefined leaves all as it is.
 */
export async function decidePolicy<T extends object | null | undefined>(
  cell: Cell,
  source: SourceRow,
  choose: (before: unknown) => Promise<T>,
): Promise<T> {
  const { registry } = cell;
  return registry.backups.deciding(source.id, async () => {
    const policy = await choose((await registry.policies.get(source.id))?.policy);
    if (policy === undefined) return policy;
    const domain = await registry.domains.get(source.domain);
    if (!domain) throw new TmError('TM1811', `domain ${source.domain}`);
    const secret: SealedPolicy = { policy };
    const sealed = await cell.sealFor(domain)(Buffer.from(JSON.stringify(secret)), BlockKind.run);
    const record = { kind: 'policy' as const, source: source.uid, sealed: 0 };
    await cell.decide([record], [sealed.bytes], async (head) => {
      await storePolicy(registry, source.id, policy);
      await registry.journal.setHead(head);
    });
    return policy;
  });
}
