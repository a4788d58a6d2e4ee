import type { Damage } from '../verify/verify.ts';
import type { Cell } from './cell.ts';

/** Ids in one record: the clear part of a journal object is limited. */
const IDS_A_RECORD = 50_000;

/** Puts what was found damaged into the journal, then marks it in the registry: it counts as missing from then on. */
export async function recordDamage(
  cell: Cell,
  domain: string,
  { packs, blocks, newlyFound }: Damage,
): Promise<void> {
  const { registry } = cell;
  const hex = (ids: readonly Buffer[], at: number) =>
    ids.slice(at, at + IDS_A_RECORD).map((id) => id.toString('hex'));
  for (let at = 0; at < Math.max(packs.length, blocks.length); at += IDS_A_RECORD) {
    const record = { kind: 'damage' as const, domain, packs: hex(packs, at), blocks: hex(blocks, at) };
    await cell.decide([record], [], (head) => registry.journal.setHead(head));
  }
  for (let at = 0; at < newlyFound.length; at += IDS_A_RECORD)
    await registry.blocks.markDamaged(domain, newlyFound.slice(at, at + IDS_A_RECORD));
}
