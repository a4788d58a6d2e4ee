import { packName } from '../blocks/pack.ts';
import type { BackupReader } from '../catalogue/backup-reader.ts';
import type { FoundBackup } from '../catalogue/port.ts';
import { dataKeyName } from '../commit/data-key.ts';
import type { HttpClient } from '../http/client.ts';
import { TmError } from '../model/errors.ts';
import { checkPacks, choosePacks, packPool } from '../verify/check-packs.ts';
import { finding, type ToldFinding, told } from '../verify/finding.ts';
import type { KnownPack } from '../verify/pack-list.ts';
import type { PackResult } from '../verify/pack-task.ts';
import type { VerifyResult } from '../verify/verify.ts';
import { filesHit, serverFindings } from './verify-lines.ts';

export interface RemoteVerifyRequest {
  /** Backups of the domains that are checked. */
  readonly backups: readonly FoundBackup[];
  /** Part of each domain's packs, from 0 to 1, that is read, decrypted and checked here. */
  readonly readData: number;
  readonly threads: number;
  /** From 0 to 1, for the choice of packs. */
  readonly random: () => number;
  readonly onFinding: (finding: ToldFinding) => void;
  readonly onProgress: (progress: { packs: number; bytes: number }) => void;
  readonly signal: AbortSignal;
}

export interface RemoteVerifyDeps {
  readonly control: HttpClient;
  readonly reader: Pick<BackupReader, 'blocks'>;
}

/**
 * Has the services check what needs no key, domain by domain, and reads packs itself to check what needs one: neither
 * has to be trusted by the other with the keys.
 */
export async function verifyRemote(
  request: RemoteVerifyRequest,
  deps: RemoteVerifyDeps,
): Promise<VerifyResult> {
  const round = new Round(request, deps);
  for (const backups of Map.groupBy(request.backups, ({ source }) => source.domain).values())
    await round.domain(backups.at(-1)!);
  return round.result;
}

class Round {
  readonly result: VerifyResult = { packs: 0, packsRead: 0, bytes: 0, blocks: 0, findings: 0, notices: 0 };
  readonly #request: RemoteVerifyRequest;
  readonly #deps: RemoteVerifyDeps;
  /** What the domains share is found in each of them. */
  readonly #told = new Set<string>();

  constructor(request: RemoteVerifyRequest, deps: RemoteVerifyDeps) {
    this.#request = request;
    this.#deps = deps;
  }

  readonly #found = (found: ToldFinding): void => {
    const { code, object, block, label, path, message } = found;
    const key = JSON.stringify([code, object, block, label, path?.toString('latin1'), message]);
    if (this.#told.has(key)) return;
    this.#told.add(key);
    if (found.notice) this.result.notices++;
    else this.result.findings++;
    this.#request.onFinding(found);
  };

  /** `backup`: one of the domain, through which its packs are read. */
  async domain(backup: FoundBackup): Promise<void> {
    const { readData, signal, onProgress } = this.#request;
    const { control } = this.#deps;
    const { domain } = backup.source;
    const blocks = readData > 0 ? await this.#deps.reader.blocks(backup, signal) : undefined;
    const packs: KnownPack[] = [];
    this.result.packs += await serverFindings(control, domain, signal, {
      onPack: (pack) => void packs.push(pack),
      onFinding: this.#found,
      onProgress: (done) => onProgress({ packs: this.result.packs + done, bytes: this.result.bytes }),
    });
    if (blocks) await this.#read(domain, packs, blocks);
  }

  async #read(
    domain: string,
    packs: readonly KnownPack[],
    { keys, supplier }: Awaited<ReturnType<BackupReader['blocks']>>,
  ): Promise<void> {
    const { readData, random, threads, signal, onProgress } = this.#request;
    const chosen = choosePacks(packs, readData, random);
    const bad: Damaged = { blocks: new Map(), packs: new Map() };
    const pool = packPool(keys, supplier, threads);
    const opened = new Map<string, Promise<boolean>>();
    const opens = (id: Buffer): Promise<boolean> => {
      const object = dataKeyName(id);
      const known = opened.get(object) ?? this.#check(object, async () => void (await keys.ring.get(id)));
      opened.set(object, known);
      return known;
    };
    try {
      await checkPacks(pool, chosen, chosen, async ({ id }, _wasRead, result) => {
        if (signal.aborted) throw new TmError('TM1508');
        this.#pack(id, result, bad);
        for (const key of result.keys)
          if (!(await opens(Buffer.from(key)))) bad.packs.set(id.toString('hex'), id);
        onProgress({ packs: ++this.result.packsRead, bytes: this.result.bytes });
      });
    } finally {
      await pool.close();
    }
    await filesHit(this.#deps.control, { domain, ...bad }, signal, this.#found);
  }

  #check(object: string, check: () => Promise<void>): Promise<boolean> {
    return finding((found) => this.#found(told(found)), { object }, check);
  }

  #pack(id: Buffer, { bytes, blocks, problems }: PackResult, bad: Damaged): void {
    this.result.bytes += bytes;
    this.result.blocks += blocks;
    for (const { code, block, message } of problems) {
      const hex = block && Buffer.from(block).toString('hex');
      this.#found({ code, object: packName(id), message, ...(hex && { block: hex }) });
      if (hex) bad.blocks.set(hex, Buffer.from(block));
      else bad.packs.set(id.toString('hex'), id);
    }
  }
}

/** Ids by their hex. */
interface Damaged {
  readonly blocks: Map<string, Buffer>;
  readonly packs: Map<string, Buffer>;
}
