import { release } from '../codec/release.ts';
import { MAX_IDS, MAX_RANGE_BYTES, writerRoutes } from '../contracts/api/writer.ts';
import { TmError } from '../model/errors.ts';
import { PLACE_BYTES } from '../registry/port-blocks.ts';
import type { RestoreSupplier } from '../restore/block-supplier.ts';
import type { Pace } from '../store/pace.ts';
import type { Writers } from './writers.ts';

const ID_BYTES = 32;

export interface RemoteSupplierOptions {
  readonly writers: Writers;
  /** The backup that is read, whose domain bounds what can be had. */
  readonly backupId: string;
  /** Opens a data key; it comes from the control plane, wrapped, and the client's identity opens it. */
  readonly key: (id: Buffer) => Promise<Buffer>;
  /** Slows reading down; default: as fast as it goes. */
  readonly pace?: Pace | undefined;
}

/** Blocks by way of the storage writers, for who has neither registry nor store. */
export class RemoteBlockSupplier implements RestoreSupplier {
  readonly #options: RemoteSupplierOptions;
  bytesFetched = 0;
  readonly isFar = true;

  constructor(options: RemoteSupplierOptions) {
    this.#options = options;
  }

  async locate(ids: Buffer): Promise<Buffer> {
    return inParts(ids.length, MAX_IDS * ID_BYTES, PLACE_BYTES / ID_BYTES, (offset, length) =>
      this.#options.writers.call(
        writerRoutes.locate,
        { params: { id: this.#options.backupId }, body: ids.subarray(offset, offset + length) },
        { maxReply: (length / ID_BYTES) * PLACE_BYTES },
      ),
    );
  }

  async read(pack: Buffer, offset: number, length: number): Promise<Buffer> {
    const { pace } = this.#options;
    const since = pace?.now ?? 0;
    const params = { id: this.#options.backupId, pack: pack.toString('hex') };
    const bytes = await inParts(length, MAX_RANGE_BYTES, 1, (from, size) =>
      this.#options.writers.call(
        writerRoutes.readPack,
        { params, query: { offset: offset + from, length: size } },
        { maxReply: size },
      ),
    );
    await pace?.take(bytes.length, since);
    this.bytesFetched += bytes.length;
    return bytes;
  }

  readonly release = release;

  count(bytes: number): void {
    this.bytesFetched += bytes;
  }

  key(id: Buffer): Promise<Buffer> {
    return this.#options.key(id);
  }
}

/** Fetches `total` in parts of at most `most`, each of which gives `factor` times as much. Throws TM1806 for another length. */
async function inParts(
  total: number,
  most: number,
  factor: number,
  fetch: (offset: number, length: number) => Promise<Buffer>,
): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let at = 0; at < total; at += most) {
    const length = Math.min(most, total - at);
    const part = await fetch(at, length);
    if (part.length !== length * factor)
      throw new TmError('TM1806', `${part.length} bytes of ${length * factor}`);
    parts.push(part);
  }
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}
