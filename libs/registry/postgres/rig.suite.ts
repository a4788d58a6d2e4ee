import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import type { BackupInfo } from '../../model/backup.ts';
import type { BackupKind } from '../../model/label.ts';
import { acquireEmbeddedPostgres, type EmbeddedPostgres, stopEmbeddedPostgres } from '../embedded/index.ts';
import type { Registry, RunRef } from '../port.ts';
import { Database } from './database.ts';
import { openPostgresRegistry } from './open-postgres-registry.ts';

/** A registry in an embedded Postgres of its own, and a way to its tables behind the port. */
export class RegistryRig {
  readonly registry: Registry;
  readonly db: Database;
  readonly #base: string;
  readonly #postgres: EmbeddedPostgres;

  private constructor(base: string, postgres: EmbeddedPostgres, registry: Registry, db: Database) {
    this.#base = base;
    this.#postgres = postgres;
    this.registry = registry;
    this.db = db;
  }

  static async make(): Promise<RegistryRig> {
    const base = mkdtempSync(join(tmpdir(), 'tidemark-registry-'));
    chmodSync(base, 0o711);
    const postgres = await acquireEmbeddedPostgres({ home: join(base, 'home'), idleSeconds: 1 });
    const registry = await openPostgresRegistry({ connection: postgres.connection });
    return new RegistryRig(base, postgres, registry, new Database(new pg.Pool(postgres.connection)));
  }

  get connection(): EmbeddedPostgres['connection'] {
    return this.#postgres.connection;
  }

  async close(): Promise<void> {
    await this.registry.close();
    await this.db.pool.end();
    await this.#postgres.release();
    await stopEmbeddedPostgres(join(this.#base, 'home'));
    rmSync(this.#base, { recursive: true, force: true });
  }

  /** A source whose backups 1 to n are committed, with the kinds given; the last full is its baseline. */
  async source(kinds: readonly BackupKind[], headRuns: readonly RunRef[] = []): Promise<number> {
    const uid = crypto.randomUUID();
    const made = { uid, agent: 'host', root: Buffer.from(`/${uid}`), key: Buffer.alloc(32), domain: 'd' };
    const source = await this.registry.backups.ensureSource(made);
    const baselines = kinds.map((_, i) => kinds.slice(0, i + 1).lastIndexOf('full') + 1);
    for (const [i, kind] of kinds.entries()) {
      const backup = committedBackup(source.id, i + 1, kind, baselines[i]!);
      await this.registry.backups.restoreBackup(backup, i === kinds.length - 1 ? headRuns : []);
    }
    const [head, baseline] = [kinds.length, baselines.at(-1) ?? 0];
    await this.registry.backups.restoreSource({ ...source, head, baseline }, kinds.length + 1);
    return source.id;
  }

  async seqs(sourceId: number): Promise<number[]> {
    return (await this.registry.backups.list({ sourceId })).map(({ seq }) => seq);
  }
}

const START = Date.UTC(2026, 0, 1);

export function committedBackup(
  sourceId: number,
  seq: number,
  kind: BackupKind,
  baselineSeq: number,
): BackupInfo {
  const time = new Date(START + seq * 60_000);
  return {
    id: crypto.randomUUID(),
    sourceId,
    seq,
    epoch: { generation: 1, counter: seq },
    kind,
    label: `${kind}-${seq}`,
    baselineSeq,
    baseSeq: seq - 1,
    state: 'committed',
    openedAt: time,
    committedAt: time,
    readFrom: time,
    readTo: time,
    stateDigest: Buffer.alloc(32, seq),
    counts: undefined,
    tags: {},
    pinned: false,
    gaps: undefined,
    failure: undefined,
  };
}
