export { type AcquireOptions, acquireEmbeddedPostgres, type EmbeddedPostgres } from './acquire.ts';
export { OldDataDirectory } from './data-dir.ts';
export { type EmbeddedPostgresStatus, embeddedPostgresStatus, embeddedPostgresVersion } from './status.ts';
export { setAsideOldData, stopEmbeddedPostgres } from './stop.ts';
