import type { BackupReader } from '../catalogue/backup-reader.ts';
import { StoreSupplier } from '../restore/block-supplier.ts';
import { Coverage } from '../watch/coverage.ts';
import { readCoverage } from '../watch/read-coverage.ts';
import type { Engine } from './engine.ts';
import { ownFolders } from './own-folders.ts';
import { RegistryCatalogue } from './registry-catalogue.ts';

/** Reading back with registry and store at hand. */
export function embeddedReader(engine: Engine): BackupReader {
  const { registry, store, home } = engine;
  return {
    catalogue: new RegistryCatalogue(registry),
    agent: home.agent,
    agentUid: undefined,
    spoolDir: home.spool,
    forbidden: () => ownFolders(engine),
    async coverage({ uid }, { from, to }) {
      const now = Date.now();
      const known = readCoverage(home.ledgerFile(uid), now) ?? new Coverage();
      return known.spans(from.getTime(), to.getTime(), now);
    },
    async blocks({ source }, signal) {
      const keys = await engine.readingKeys(source.domain);
      return { keys, supplier: new StoreSupplier(registry, store, keys, signal) };
    },
  };
}
