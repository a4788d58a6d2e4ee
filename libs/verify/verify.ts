import { packName } from '../blocks/pack.ts';
import { TmError } from '../model/errors.ts';
import type { Registry } from '../registry/port.ts';
import { type ReadingKeys, StoreSupplier } from '../restore/block-supplier.ts';
import type { FrameKeys } from '../restore/frame-reader.ts';
import type { Store } from '../store/port.ts';
import { checkPacks, choosePacks, type PackPool, packPool } from './check-packs.ts';
import { type Finding, finding, type OnFinding } from './finding.ts';
import { type KnownPack, listPacks } from './pack-list.ts';
import type { PackResult } from './pack-task.ts';
import { EntryCheck } from './verify-entries.ts';
import { verifyJournal } from './verify-journal.ts';
import { RunCheck } from './verify-runs.ts';

export type { Finding };

export interface VerifyRequest {
  readonly domain: string;
  /** Journals are of all domains: checking them once is enough. Default: true. */
  readonly checksJournal?: boolean;
  /** Part of the packs, from 0 to 1, of which every block is read, decrypted and checked. */
  readonly readData: number;
  readonly threads: number;
  /** From 0 to 1, for the choice of packs. */
  readonly random: () => number;
  readonly onFinding: OnFinding;
  readonly onProgress: (progress: { packs: number; bytes: number }) => void;
  /** Told of every pack that is there with its right size, before it is checked. */
  readonly onPack?: (pack: KnownPack) => void;
  readonly signal?: AbortSignal;
}

export interface VerifyDeps {
  readonly registry: Registry;
  readonly store: Store;
  /** Opens blocks; needed to read data. */
  readonly keys: ReadingKeys | undefined;
  readonly frameKeys: FrameKeys;
  /** Name of a data key's object, and of the folder of the domain's own. */
  readonly dataKeyName: (id: Buffer) => string;
  readonly domainKeys: string;
  /** What was found damaged before, when the store was opened. */
  readonly known: readonly TmError[];
  /** Records durably what was found damaged, so that the next backup that has those blocks puts them anew. */
  readonly onDamage: (damage: Damage) => Promise<void>;
}

export interface Damage {
  /** Packs of which nothing counts as whole. */
  readonly packs: readonly Buffer[];
  /** Blocks in other packs. */
  readonly blocks: readonly Buffer[];
  /** All blocks that were not known as damaged before. */
  readonly newlyFound: readonly Buffer[];
}

export interface VerifyResult {
  packs: number;
  /** Of those, the ones whose blocks were read. */
  packsRead: number;
  bytes: number;
  blocks: number;
  findings: number;
  notices: number;
}

/**
 * Checks the store against the registry: journals, keys, packs, runs, and that every block that an entry names is there
 * and, if asked, whole. Names every file of every backup that damage hits.
 */
export class Verification {
  readonly #request: VerifyRequest;
  readonly #deps: VerifyDeps;
  readonly #pool: PackPool;
  readonly #entries: EntryCheck;
  /** Hex ids of blocks that were found missing or damaged: grows with the damage. */
  readonly #bad = new Set<string>();
  readonly #proven = new Map<string, KnownPack>();
  readonly #badPacks = new Map<string, Buffer>();
  readonly #inBadPacks = new Set<string>();
  readonly #keys = new Map<string, Promise<boolean>>();
  readonly #result: VerifyResult = {
    packs: 0,
    packsRead: 0,
    bytes: 0,
    blocks: 0,
    findings: 0,
    notices: 0,
  };

  constructor(request: VerifyRequest, deps: VerifyDeps) {
    this.#request = request;
    this.#deps = deps;
    const { registry, store, keys, frameKeys } = deps;
    const supplier = new StoreSupplier(registry, store, keys ?? frameKeys, request.signal);
    this.#pool = packPool(frameKeys, supplier, request.readData > 0 ? request.threads : 0);
    this.#entries = new EntryCheck(registry, request.domain, this.#found);
  }

  async run(): Promise<VerifyResult> {
    const { registry, store, keys } = this.#deps;
    try {
      if (this.#request.checksJournal !== false) await this.#journal();
      await this.#domainKeys();
      const { whole, broken } = await listPacks(this.#request.domain, registry, store, this.#found);
      this.#result.packs = whole.length + broken.length;
      for (const id of broken) await this.#packIsBad(id);
      const runs = new RunCheck(
        { registry, store, domain: this.#request.domain },
        this.#request.readData > 0 ? keys : undefined,
        this.#found,
        this.#request.signal,
      );
      const all = await Promise.allSettled([this.#packs(whole), this.#entries.findLacking(), runs.run()]);
      for (const one of all) if (one.status === 'rejected') throw one.reason;
    } finally {
      await this.#pool.close();
    }
    await this.#recordDamage();
    for (const id of await this.#entries.lacking(this.#proven)) this.#bad.add(id);
    await this.#entries.nameFiles(this.#bad);
    return this.#result;
  }

  readonly #found = (found: Finding): void => {
    if (found.notice) this.#result.notices++;
    else this.#result.findings++;
    this.#request.onFinding(found);
  };

  /** What was known before is told unless the journal's check says it again. */
  async #journal(): Promise<void> {
    const { registry, store, known } = this.#deps;
    const told: string[] = [];
    await verifyJournal(registry, store, (found) => {
      told.push(found.message);
      this.#found(found);
    });
    for (const { code, message } of known)
      if (!told.some((one) => message.includes(one))) this.#found({ code, message });
  }

  async #packs(packs: readonly KnownPack[]): Promise<void> {
    const { readData, random, onProgress, onPack } = this.#request;
    if (onPack) packs.forEach(onPack);
    const chosen = choosePacks(packs, readData, random);
    let done = 0;
    await checkPacks(this.#pool, packs, chosen, async (pack, wasRead, result) => {
      await this.#pack(pack, wasRead, result);
      onProgress({ packs: ++done, bytes: this.#result.bytes });
    });
  }

  async #pack(pack: KnownPack, wasRead: boolean, result: PackResult): Promise<void> {
    const { id } = pack;
    const object = packName(id);
    this.#result.bytes += result.bytes;
    this.#result.blocks += result.blocks;
    if (wasRead) this.#result.packsRead++;
    for (const { code, block, message } of result.problems) {
      const hex = block && Buffer.from(block).toString('hex');
      this.#found({ code, object, message, ...(hex ? { block: hex } : {}) });
      if (hex) this.#bad.add(hex);
      else await this.#packIsBad(id);
    }
    let opens = true;
    for (const key of result.keys) opens = (await this.#dataKey(Buffer.from(key))) && opens;
    if (!opens) await this.#packIsBad(id);
    else if (wasRead && result.problems.length === 0) this.#proven.set(id.toString('hex'), pack);
  }

  async #packIsBad(id: Buffer): Promise<void> {
    this.#badPacks.set(id.toString('hex'), id);
    for (const block of await this.#deps.registry.blocks.blocksOf(this.#request.domain, id)) {
      this.#bad.add(block.id.toString('hex'));
      this.#inBadPacks.add(block.id.toString('hex'));
    }
  }

  /** Whether a data key is there and, with the domain's private key, opens. Told once. */
  #dataKey(id: Buffer): Promise<boolean> {
    const { store, keys, dataKeyName } = this.#deps;
    const object = dataKeyName(id);
    let known = this.#keys.get(object);
    if (!known) {
      known = finding(this.#found, { object }, async () => {
        if (keys) await keys.ring.get(id);
        else if (!(await store.stat(object))) throw missingKey(object);
      });
      this.#keys.set(object, known);
    }
    return known;
  }

  async #domainKeys(): Promise<void> {
    const { store, domainKeys } = this.#deps;
    await finding(this.#found, { object: domainKeys }, async () => {
      for await (const _ of store.list(domainKeys)) return;
      throw missingKey(domainKeys);
    });
  }

  /** Blocks that the registry knows as damaged already are not recorded again. */
  async #recordDamage(): Promise<void> {
    const ids = [...this.#bad].map((id) => Buffer.from(id, 'hex'));
    if (ids.length === 0) return;
    const { registry, onDamage } = this.#deps;
    const present = await registry.blocks.present(this.#request.domain, Buffer.concat(ids));
    const newlyFound = ids.filter((_, i) => present[i] === 1);
    if (newlyFound.length === 0) return;
    const blocks = newlyFound.filter((id) => !this.#inBadPacks.has(id.toString('hex')));
    await onDamage({ packs: [...this.#badPacks.values()], blocks, newlyFound });
  }
}

const missingKey = (object: string): TmError => new TmError('TM1404', `${object} is missing`);
