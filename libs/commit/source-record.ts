import { BlockKind } from '../blocks/intake.ts';
import type { SourceRow } from '../registry/port.ts';
import type { JournalRecordOf } from '../store/journal.ts';
import type { SealBlock } from './run-writer.ts';

type Source = Pick<SourceRow, 'uid' | 'domain' | 'agent' | 'agentUid' | 'root' | 'key'>;

/** The record that makes a source known; `section` holds `sealSource`. */
export const sourceRecord = ({ uid, domain }: Source, section: number): JournalRecordOf<'source'> => ({
  kind: 'source',
  uid,
  domain,
  sealed: section,
});

/** A source's secret fields: without them its backups can't be rebuilt. */
export async function sealSource({ agent, agentUid, root, key }: Source, seal: SealBlock): Promise<Buffer> {
  const ofAgent = agentUid === undefined ? {} : { agentUid };
  const secret = { root: root.toString('base64'), agent, ...ofAgent, key: key.toString('base64') };
  return (await seal(Buffer.from(JSON.stringify(secret)), BlockKind.run)).bytes;
}
