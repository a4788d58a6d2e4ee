import type { Registry } from '../registry/port.ts';

/** The secret part of a policy record: JSON whose form libs/schedule/policy.ts checks; null: the policy was removed. */
export interface SealedPolicy {
  readonly policy: object | null;
}

export async function storePolicy(
  { policies }: Registry,
  sourceId: number,
  policy: SealedPolicy['policy'],
): Promise<void> {
  if (policy) await policies.set(sourceId, policy);
  else await policies.delete(sourceId);
}
