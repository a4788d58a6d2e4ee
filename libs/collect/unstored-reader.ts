import { Chunker } from '../blocks/chunker.ts';
import { FrameSealer } from '../blocks/frame.ts';
import { EntryHasher, KeyedHasher } from '../model/digests.ts';
import type { Stat } from '../posix/index.ts';
import { BlockBatch } from './block-batch.ts';
import { ContentReader } from './content-reader.ts';
import { EntryReader, type ReadEntry } from './entry-reader.ts';
import { namesById } from './names.ts';

export interface UnstoredSetup {
  readonly domainId: string;
  readonly dedupKey: Buffer;
  readonly digestKey: Buffer;
  readonly gearSeed: Buffer;
  readonly sourceKey: Buffer;
  readonly rootDev: bigint;
  readonly startedAtNs: bigint;
  readonly granularityNs: bigint;
}

export interface UnstoredEntry extends ReadEntry {
  readonly hash: Buffer;
}

/** Reads entries as a worker does, to the same states and hashes, but keeps no block: as if the store had them all. */
export class UnstoredReader {
  readonly #content: ContentReader;
  readonly #entries: EntryReader;
  readonly #hasher: EntryHasher;

  constructor(setup: UnstoredSetup) {
    const nothingMissing = {
      missing: async (ids: Buffer) => new Uint8Array(ids.length / 32),
      frames: async () => {},
    };
    const sealer = new FrameSealer({
      domainId: setup.domainId,
      keyId: Buffer.alloc(16),
      key: Buffer.alloc(32),
      firstFrameNo: 0,
      endFrameNo: 0, // none to give away: it cannot seal
    });
    const batch = new BlockBatch(nothingMissing, sealer, new KeyedHasher(setup.dedupKey));
    const chunker = new Chunker(setup.gearSeed);
    this.#content = new ContentReader(chunker, batch, new KeyedHasher(setup.digestKey));
    this.#entries = new EntryReader({
      ...setup,
      content: this.#content,
      batch,
      linkIds: new KeyedHasher(setup.sourceKey),
      users: namesById('/etc/passwd'),
      groups: namesById('/etc/group'),
    });
    this.#hasher = new EntryHasher(setup.sourceKey);
  }

  /** Throws PosixError; ENOENT and ESTALE mean that it vanished. */
  async read(dirFd: number, dir: Buffer, name: Buffer, walked: Stat): Promise<UnstoredEntry> {
    const entry = await this.#entries.read(dirFd, name, walked);
    await this.#content.flush();
    const hash = this.#hasher.hash(dir, name, entry.state);
    return { ...entry, state: Buffer.from(entry.state), hints: Buffer.from(entry.hints), hash };
  }
}
