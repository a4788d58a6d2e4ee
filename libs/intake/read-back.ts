import { domainOfPack, PACK_HEADER_BYTES, packName } from '../blocks/pack.ts';
import { encodeFramesOf } from '../contracts/frame-stream.ts';
import type { Principal } from '../http/principal.ts';
import { decodeState } from '../model/entry.ts';
import { TmError } from '../model/errors.ts';
import { baseName, fromSlashes, parentPath } from '../model/tree-path.ts';
import type { Registry } from '../registry/port.ts';
import { StoreSupplier } from '../restore/block-supplier.ts';
import type { Store } from '../store/port.ts';
import { type BackupOf, type KnownBackup, readableBackup } from './access.ts';
import { FileFrames } from './file-frames.ts';
import { checkIds } from './intake-service.ts';

/** Of a pack that are read, and held, at once. */
const PIECE_BYTES = 4 * 1024 * 1024;
const KEPT_DOMAINS = 100_000;

export interface ReadBackDeps {
  readonly registry: Pick<Registry, 'blocks' | 'entries'>;
  readonly store: Store;
  readonly backupOf: BackupOf;
}

/** Reads back for restores, without keys: what lies where, and bytes of packs, of a backup's domain only. */
export class ReadBack {
  readonly #deps: ReadBackDeps;
  /** Domains of packs by id: they never change. */
  readonly #domains = new Map<string, string>();

  constructor(deps: ReadBackDeps) {
    this.#deps = deps;
  }

  /** Places of 48 bytes, as restore/block-supplier.ts has them. */
  async locate(principal: Principal, backupId: string, ids: Buffer): Promise<Buffer> {
    checkIds(ids);
    const { domain } = await this.#readable(principal, backupId);
    return new StoreSupplier(this.#deps.registry, this.#deps.store, { domainId: domain }).locate(ids);
  }

  /** Throws TM1811 for a pack of another domain, TM1205 and TM1206 where its bytes are not there. */
  async *readPack(
    principal: Principal,
    backupId: string,
    pack: Buffer,
    range: { offset: number; length: number },
  ): AsyncGenerator<Buffer> {
    const { domain } = await this.#readable(principal, backupId);
    if ((await this.#domainOf(pack)) !== domain) throw new TmError('TM1811', packName(pack));
    const end = range.offset + range.length;
    for (let offset = range.offset; offset < end; offset += PIECE_BYTES)
      yield await this.#deps.store.read(packName(pack), {
        offset,
        length: Math.min(PIECE_BYTES, end - offset),
      });
  }

  /** A frame stream of one file; `path`: its bytes with slashes. Throws TM1704, TM1807 (no file). */
  async *content(principal: Principal, backupId: string, path: Buffer): AsyncGenerator<Buffer> {
    const backup = await this.#readable(principal, backupId);
    const { recipe } = await this.#stateOf(backup, path);
    if (!recipe) throw new TmError('TM1807', 'query.path: not a file');
    const frames = new FileFrames(this.#deps.registry.blocks, this.#deps.store, backup.domain);
    yield* encodeFramesOf(frames.of(recipe));
  }

  #readable(principal: Principal, backupId: string): Promise<KnownBackup> {
    return readableBackup(principal, backupId, this.#deps.backupOf);
  }

  async #stateOf({ sourceId, seq }: KnownBackup, path: Buffer): Promise<ReturnType<typeof decodeState>> {
    const tree = fromSlashes(path);
    const key = { dir: parentPath(tree), name: baseName(tree) };
    const [version] = await this.#deps.registry.entries.lookup(sourceId, seq, [key]);
    if (!version) throw new TmError('TM1704');
    return decodeState(version.state);
  }

  async #domainOf(pack: Buffer): Promise<string> {
    const name = packName(pack);
    const known = this.#domains.get(name);
    if (known) return known;
    const header = await this.#deps.store.read(name, { offset: 0, length: PACK_HEADER_BYTES });
    const domain = domainOfPack(header);
    if (this.#domains.size >= KEPT_DOMAINS) this.#domains.clear();
    this.#domains.set(name, domain);
    return domain;
  }
}
