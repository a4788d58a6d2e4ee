import { randomBytes, randomUUID } from 'node:crypto';
import type { DomainKeys } from '../blocks/keys.ts';
import { sealSource, sourceRecord } from '../commit/source-record.ts';
import type { SourceRow } from '../registry/port.ts';
import type { Cell } from './cell.ts';

/** The source of an agent's folder, made known in journal and registry where it is new. */
export async function ensureSource(
  cell: Cell,
  domain: DomainKeys,
  agent: { readonly name: string; readonly uid: string | undefined },
  root: Buffer,
): Promise<SourceRow> {
  const { registry } = cell;
  const known = await registry.catalogue.source(
    agent.uid === undefined ? { agent: agent.name, root } : { agentUid: agent.uid, root },
  );
  if (known) return known;
  const [uid, key] = [randomUUID(), randomBytes(32)];
  const made = { uid, agent: agent.name, agentUid: agent.uid, root, key, domain: domain.id };
  const sealed = await sealSource(made, cell.sealFor(domain));
  let source: SourceRow | undefined;
  await cell.decide([sourceRecord(made, 0)], [sealed], async (head) => {
    source = await registry.backups.ensureSource(made);
    await registry.journal.setHead(head);
  });
  return source!;
}
