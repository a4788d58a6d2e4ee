import type { FolderIdentity } from '../agent/folder-identity.ts';
import type { BackupReader } from '../catalogue/backup-reader.ts';
import { RemoteBlockSupplier } from '../intake/remote-block-supplier.ts';
import type { ReadingKeys } from '../restore/block-supplier.ts';
import { limitWorld, Pace } from '../store/pace.ts';
import { RemoteCatalogue } from './remote-catalogue.ts';
import { remoteCoverage } from './remote-coverage.ts';
import { remoteReadingKeys } from './remote-keys.ts';
import type { ServerConnection } from './server-connection.ts';

/** What a client has of its own. */
export interface ClientHost {
  /** This host's agent: the name that it has or would have, and the id where it is enrolled. */
  readonly agent: string;
  readonly agentUid: string | undefined;
  readonly spoolDir: string;
  readonly forbidden: () => readonly FolderIdentity[];
  /** Bytes a second of blocks that are read; undefined: as fast as it goes. */
  readonly downloadLimit: number | undefined;
  /** The age identity that opens domains. */
  readonly identity: () => Promise<string>;
}

/** Reading back over services. */
export function remoteReader(connection: ServerConnection, host: ClientHost): BackupReader {
  const { control } = connection;
  const pace = new Pace(host.downloadLimit, limitWorld(connection.signal));
  const domains = new Map<string, Promise<ReadingKeys>>();
  const keysOf = (domain: string, signal: AbortSignal): Promise<ReadingKeys> => {
    const keys =
      domains.get(domain) ?? host.identity().then((own) => remoteReadingKeys(control, domain, own, signal));
    domains.set(domain, keys);
    return keys;
  };
  return {
    ...host,
    catalogue: new RemoteCatalogue(control, connection.signal),
    coverage: ({ uid }, period) => remoteCoverage(connection, uid, period),
    async blocks({ backup, source }, signal) {
      const keys = await keysOf(source.domain, signal);
      const writers = await connection.writers();
      const key = (id: Buffer) => keys.ring.get(id);
      return { keys, supplier: new RemoteBlockSupplier({ writers, backupId: backup.id, key, pace }) };
    },
  };
}
