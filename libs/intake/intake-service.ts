import { type FinishedPack, PackBuilder, packName } from '../blocks/pack.ts';
import { release } from '../codec/release.ts';
import { dataKeyName } from '../commit/data-key.ts';
import type { WrappedKey } from '../commit/pack-intake.ts';
import { MAX_IDS } from '../contracts/api/writer.ts';
import { decodeFrames, MAX_STREAM_BYTES } from '../contracts/frame-stream.ts';
import type { Principal } from '../http/principal.ts';
import { TmError } from '../model/errors.ts';
import type { Registry } from '../registry/port.ts';
import type { Store } from '../store/port.ts';
import { type BackupOf, type KnownBackup, writableBackup } from './access.ts';
import { Budget } from './budget.ts';

const ID_BYTES = 32;
const AGE_MAGIC = Buffer.from('age-encryption.org/v1\n');
const DEFAULT_BUDGET = 256 * 1024 * 1024;
/** Keys under which the frames of one pack may lie: each worker process has one. */
const MAX_KEYS_A_PACK = 16;
const KEPT_KEYS = 1000;

/** A body as it comes in, with its length where that was stated. */
export interface IncomingBytes extends AsyncIterable<Buffer> {
  readonly length: number | undefined;
}

export interface IntakeDeps {
  readonly registry: Pick<Registry, 'blocks'>;
  readonly store: Store;
  readonly backupOf: BackupOf;
  /** Bytes of uploads held in memory at once; default 256 MiB. */
  readonly budgetBytes?: number;
}

/**
 * Takes frames of open backups. Order of writes as in commit/pack-intake.ts: the wrapped data key is durable before the
 * first pack that uses it, the pack's row (writing) before its object, the object before its block rows, those before
 * the answer. Nothing is kept between requests, so that any writer takes a retry: the same frames are the same pack.
 */
export class IntakeService {
  readonly #deps: IntakeDeps;
  readonly #budget: Budget;
  /** Wrapped data keys that are known to be durable; those used last come last. */
  readonly #keys = new Map<string, Buffer>();

  constructor(deps: IntakeDeps) {
    this.#deps = deps;
    this.#budget = new Budget(deps.budgetBytes ?? DEFAULT_BUDGET);
  }

  /** A byte for each id, 1 where the block has to be put. */
  async missing(principal: Principal, backupId: string, ids: Buffer): Promise<Buffer> {
    checkIds(ids);
    const { domain } = await this.#writable(principal, backupId);
    const present = await this.#deps.registry.blocks.present(domain, ids);
    return Buffer.from(present.map((there) => 1 - there));
  }

  /** Idempotent for the same bytes. Throws TM1807 for what is no wrapped key, or another key under that id. */
  async putKey(principal: Principal, backupId: string, keyId: Buffer, wrapped: Buffer): Promise<void> {
    if (!wrapped.subarray(0, AGE_MAGIC.length).equals(AGE_MAGIC))
      throw new TmError('TM1807', 'body: no age file');
    await this.#writable(principal, backupId);
    try {
      await this.#deps.store.create(dataKeyName(keyId), [wrapped]);
    } catch (error) {
      if (!(error instanceof TmError && error.code === 'TM1210')) throw error;
      throw new TmError('TM1807', 'another key has that id', { cause: error });
    }
  }

  /** One pack. Throws TM1810 for a stream that is not whole, TM1808 where there is no memory for it. */
  async putFrames(
    principal: Principal,
    backupId: string,
    stream: IncomingBytes,
  ): Promise<{ pack: string; size: number }> {
    const { domain } = await this.#writable(principal, backupId);
    return this.#budget.during(stream.length ?? MAX_STREAM_BYTES, async () => {
      const { builder, keys } = await this.#assemble(domain, stream);
      // Reading the stream took its time.
      await this.#writable(principal, backupId);
      const pack = builder.finish(keys);
      await this.#write(domain, pack, keys);
      return { pack: pack.id.toString('hex'), size: pack.size };
    });
  }

  #writable(principal: Principal, backupId: string): Promise<KnownBackup> {
    return writableBackup(principal, backupId, this.#deps.backupOf);
  }

  async #assemble(
    domain: string,
    stream: IncomingBytes,
  ): Promise<{ builder: PackBuilder; keys: WrappedKey[] }> {
    const builder = new PackBuilder(domain);
    const keys = new Map<string, WrappedKey>();
    for await (const frame of decodeFrames(stream)) {
      const name = frame.keyId.toString('hex');
      if (!keys.has(name)) keys.set(name, { id: frame.keyId, wrapped: await this.#wrappedKey(frame.keyId) });
      if (keys.size > MAX_KEYS_A_PACK) throw new TmError('TM1810', 'frames under too many keys');
      builder.add(frame);
    }
    if (keys.size === 0) throw new TmError('TM1810', 'no frames');
    return { builder, keys: [...keys.values()] };
  }

  async #write(domain: string, pack: FinishedPack, keys: readonly WrappedKey[]): Promise<void> {
    const { registry, store } = this.#deps;
    const { id, size } = pack;
    await registry.blocks.beginPack(domain, { id, size });
    await store.create(packName(id), pack.parts);
    await registry.blocks.finishPack(domain, { id, size, keys: keys.map((key) => key.id) }, pack.blocks);
    pack.parts.forEach(release);
  }

  /** As it lies in the store, so that it is durable for certain. */
  async #wrappedKey(id: Buffer): Promise<Buffer> {
    const name = dataKeyName(id);
    const wrapped = this.#keys.get(name) ?? (await this.#readKey(name));
    this.#keys.delete(name);
    this.#keys.set(name, wrapped);
    for (const oldest of this.#keys.keys()) {
      if (this.#keys.size <= KEPT_KEYS) break;
      this.#keys.delete(oldest);
    }
    return wrapped;
  }

  async #readKey(name: string): Promise<Buffer> {
    try {
      return await this.#deps.store.read(name);
    } catch (error) {
      if (!(error instanceof TmError && error.code === 'TM1205')) throw error;
      throw new TmError('TM1807', `${name} was not put before its frames`, { cause: error });
    }
  }
}

/** Throws TM1807 for what is not 1 to MAX_IDS ids. */
export function checkIds(ids: Buffer): void {
  const count = ids.length / ID_BYTES;
  if (!Number.isInteger(count) || count < 1 || count > MAX_IDS)
    throw new TmError('TM1807', `body: ${ids.length} bytes are not 1 to ${MAX_IDS} ids`);
}
