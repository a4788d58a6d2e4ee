import type { Cell } from '../cell/cell.ts';
import { type CellConfig, openCell } from '../cell/open-cell.ts';
import { STORE_IDENTITY_NAME } from '../store/store-identity.ts';
import type { Dependency } from './health.ts';
import type { Log } from './log.ts';

/** The variables that name a cell. */
export interface CellVariables {
  readonly TIDEMARK_REGISTRY_URL: string;
  readonly TIDEMARK_STORE: string;
  readonly TIDEMARK_GCS_ENDPOINT?: string | undefined;
}

export const cellConfig = (config: CellVariables, log: Log): CellConfig => ({
  registryUrl: config.TIDEMARK_REGISTRY_URL,
  storeUrl: config.TIDEMARK_STORE,
  gcsEndpoint: config.TIDEMARK_GCS_ENDPOINT,
  onStatus: (text) => log.info({}, text),
});

export const openServiceCell = (config: CellVariables, log: Log): Promise<Cell> =>
  openCell(cellConfig(config, log));

export const cellDependencies = ({ registry, store }: Cell): Dependency[] => [
  { name: 'registry', check: async () => void (await registry.now()) },
  { name: 'store', check: async () => void (await store.stat(STORE_IDENTITY_NAME)) },
];
