import { openFrame, parseFrameHeader } from '../blocks/frame.ts';
import { type IndexedFrame, packName, readPackIndex } from '../blocks/pack.ts';
import type { BackupInfo } from '../model/backup.ts';
import { blake3, KeyedHasher } from '../model/digests.ts';
import { blockIdsOf, decodeState } from '../model/entry.ts';
import { type ErrorCode, TmError } from '../model/errors.ts';
import { joinPath, type TreePath } from '../model/tree-path.ts';
import type { Registry } from '../registry/port.ts';
import type { ReadingKeys } from '../restore/block-supplier.ts';
import { verifyChain } from '../store/journal.ts';
import type { Store } from '../store/port.ts';

export interface Finding {
  readonly code: ErrorCode;
  /** Object of the store. */
  readonly object?: string;
  /** Block id, hex. */
  readonly block?: string;
  readonly backup?: BackupInfo;
  readonly path?: TreePath;
  readonly message: string;
}

export interface VerifyRequest {
  readonly domain: string;
  readonly writer: string;
  /** Read, decrypt and check every block; needs the keys. */
  readonly readData: boolean;
  readonly onFinding: (finding: Finding) => void;
  readonly onProgress: (progress: { packs: number; bytes: number }) => void;
}

export interface VerifyResult {
  packs: number;
  bytes: number;
  blocks: number;
  findings: number;
}

/** Checks the store against the registry: journal, packs, and that every block that an entry names is there and, if asked, whole. */
export class Verification {
  readonly #request: VerifyRequest;
  readonly #registry: Registry;
  readonly #store: Store;
  readonly #keys: ReadingKeys | undefined;
  readonly #bad = new Set<string>();
  readonly #result: VerifyResult = { packs: 0, bytes: 0, blocks: 0, findings: 0 };

  constructor(
    request: VerifyRequest,
    deps: { registry: Registry; store: Store; keys: ReadingKeys | undefined },
  ) {
    this.#request = request;
    this.#registry = deps.registry;
    this.#store = deps.store;
    this.#keys = deps.keys;
  }

  async run(): Promise<VerifyResult> {
    for (const { object, problem } of await verifyChain(this.#store, this.#request.writer)) {
      this.#found({ code: 'TM1212', object, message: problem });
    }
    for await (const packs of this.#registry.blocks.packs(this.#request.domain)) {
      for (const pack of packs) if (pack.state === 'ready') await this.#pack(pack.id, pack.size);
    }
    await this.#entries();
    return this.#result;
  }

  #found(finding: Finding): void {
    this.#result.findings++;
    this.#request.onFinding(finding);
  }

  async #pack(id: Buffer, size: number): Promise<void> {
    const object = packName(id);
    this.#result.packs++;
    try {
      const info = await this.#store.stat(object);
      if (!info) throw new TmError('TM1205', object);
      if (info.size !== size)
        throw new TmError('TM1206', `${object} has ${info.size} bytes instead of ${size}`);
      if (this.#keys) await this.#data(id, object, size, this.#keys);
    } catch (error) {
      if (!(error instanceof TmError)) throw error;
      this.#found({ code: error.code, object, message: error.message });
      for (const block of await this.#registry.blocks.blocksOf(this.#request.domain, id))
        this.#bad.add(block.id.toString('hex'));
    }
    this.#request.onProgress({ packs: this.#result.packs, bytes: this.#result.bytes });
  }

  async #data(id: Buffer, object: string, size: number, keys: ReadingKeys): Promise<void> {
    const bytes = await this.#store.read(object);
    this.#result.bytes += bytes.length;
    const whole = bytes.length === size && blake3(bytes).equals(id);
    if (!whole) this.#found({ code: 'TM1206', object, message: `${object} differs from its id` });
    const index = await readPackIndex(
      async (offset, length) => bytes.subarray(offset, offset + length),
      bytes.length,
    );
    const hasher = new KeyedHasher(keys.dedupKey);
    for (const frame of index.frames)
      await this.#frame(
        bytes.subarray(frame.offset, frame.offset + frame.length),
        frame,
        object,
        keys,
        hasher,
      );
  }

  async #frame(
    bytes: Buffer,
    frame: IndexedFrame,
    object: string,
    keys: ReadingKeys,
    hasher: KeyedHasher,
  ): Promise<void> {
    let plain: Buffer | undefined;
    try {
      plain = openFrame(bytes, keys.domainId, await keys.ring.get(parseFrameHeader(bytes).keyId));
    } catch (error) {
      if (!(error instanceof TmError)) throw error;
    }
    let at = 0;
    for (const { id, length } of frame.blocks) {
      this.#result.blocks++;
      const block = plain?.subarray(at, at + length);
      at += length;
      if (block?.length === length && hasher.digest(block).equals(id)) continue;
      this.#bad.add(id.toString('hex'));
      this.#found({
        code: 'TM1601',
        object,
        block: id.toString('hex'),
        message: `block ${id.toString('hex')} in ${object}`,
      });
    }
  }

  /** Every block that an entry of a committed backup names has to be known; those of damaged blocks are named. */
  async #entries(): Promise<void> {
    const backups = await this.#registry.backups.list({});
    for (const backup of backups) {
      if (this.#bad.size === 0 && backup !== backups.findLast((one) => one.sourceId === backup.sourceId))
        continue;
      for await (const page of this.#registry.entries.list(backup.sourceId, backup.seq))
        await this.#page(backup, page);
    }
  }

  async #page(
    backup: BackupInfo,
    page: readonly { dir: TreePath; name: Buffer; state: Buffer }[],
  ): Promise<void> {
    const named = page.map((entry) => blockIdsOf(decodeState(entry.state)));
    const ids = [...new Map(named.flat().map((id) => [id.toString('hex'), id])).values()];
    if (ids.length === 0) return;
    const rows = await this.#registry.blocks.locate(this.#request.domain, ids);
    const children = new Map(rows.map((row, i) => [ids[i]!.toString('hex'), row]));
    page.forEach(({ dir, name }, i) => {
      const hit = named[i]!.map((id) => id.toString('hex')).find((hex) =>
        this.#isBad(hex, children.get(hex)),
      );
      if (hit)
        this.#found({
          code: 'TM1601',
          block: hit,
          backup,
          path: joinPath(dir, name),
          message: `block ${hit}`,
        });
    });
  }

  #isBad(hex: string, row: { children: Buffer } | undefined): boolean {
    if (!row || this.#bad.has(hex)) return true;
    for (let at = 0; at < row.children.length; at += 32)
      if (this.#bad.has(row.children.toString('hex', at, at + 32))) return true;
    return false;
  }
}
