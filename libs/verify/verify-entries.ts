import { BlockKind } from '../blocks/intake.ts';
import type { BackupInfo } from '../model/backup.ts';
import { blockIdsOf, decodeState, type EntryState, plainBlocks } from '../model/entry.ts';
import { joinPath } from '../model/tree-path.ts';
import type { EntryVersion, Registry } from '../registry/port.ts';
import { backupsOf } from './backups-of.ts';
import type { OnFinding } from './finding.ts';
import { IdSet } from './id-set.ts';
import type { KnownPack } from './pack-list.ts';

const ID_BYTES = 32;
/** Blocks that are held as known at once: 32 MiB of memory. Others are asked for one by one, at some 20 times the cost. */
const KNOWN_BLOCKS = 1024 * 1024;
const hex = (id: Buffer): string => id.toString('hex');

/**
 * The blocks that entries name. `lacking` grows with what is missing, not with what is there: blocks that the registry
 * does not know, or knows as damaged.
 */
export class EntryCheck {
  readonly #registry: Registry;
  readonly #domain: string;
  readonly #onFinding: OnFinding;
  readonly #lacking = new Set<string>();
  /** Were present when `findLacking` began. */
  readonly #known = new IdSet();

  constructor(registry: Registry, domain: string, onFinding: OnFinding) {
    this.#registry = registry;
    this.#domain = domain;
    this.#onFinding = onFinding;
  }

  /** Looks every block of every version up. */
  async findLacking(): Promise<void> {
    for await (const ids of this.#registry.blocks.presentIds(this.#domain, KNOWN_BLOCKS))
      for (const id of ids) this.#known.add(id);
    for await (const states of this.#registry.entries.allStates(this.#domain)) {
      const ids = new Set<string>();
      const trees: Buffer[] = [];
      for (const bytes of states) {
        const plain = plainBlocks(bytes); // of most files: nothing is decoded
        for (let i = 0; plain && i < plain.length; i += 2)
          if (!this.#known.has(bytes, plain[i]!))
            ids.add(bytes.toString('latin1', plain[i]!, plain[i]! + ID_BYTES));
        if (!plain) namedBy(decodeState(bytes), ids, trees);
      }
      await this.#lookUp(Buffer.from([...ids].join(''), 'latin1'));
      await this.#lookUpChildren(trees);
    }
  }

  /** `all`: behind one another. What was not there when it began is asked for: other backups may be under way. */
  async #lookUp(all: Buffer): Promise<void> {
    const ids = Buffer.concat(idsIn(all).filter((id) => !this.#known.has(id, 0)));
    if (ids.length === 0) return;
    const present = await this.#registry.blocks.present(this.#domain, ids);
    for (const [i, there] of present.entries())
      if (there === 0) this.#lacking.add(ids.toString('hex', i * ID_BYTES, (i + 1) * ID_BYTES));
  }

  /** Level by level below recipe blocks. */
  async #lookUpChildren(trees: readonly Buffer[]): Promise<void> {
    for (let level = trees; level.length > 0; ) {
      const below: Buffer[] = [];
      for (const row of await this.#registry.blocks.locate(this.#domain, level)) {
        if (!row) continue;
        const children = idsIn(row.children);
        await this.#lookUp(row.children);
        for (const child of await this.#registry.blocks.locate(this.#domain, children))
          if (child?.kind === BlockKind.recipe) below.push(child.id);
      }
      level = below;
    }
  }

  /**
   * Of the lacking blocks those that count. One that the registry calls damaged although it was just read and found
   * whole (its pack was put back) is believed in again. `proven`: packs, hex, whose blocks were all read.
   */
  async lacking(proven: ReadonlyMap<string, KnownPack>): Promise<Set<string>> {
    const bad = new Set<string>();
    for (const id of this.#lacking) {
      const [row] = await this.#registry.blocks.locate(this.#domain, [Buffer.from(id, 'hex')]);
      const pack = row && proven.get(hex(row.pack));
      if (row && pack) await this.#registry.blocks.finishPack(this.#domain, { ...pack, keys: [] }, [row]);
      else bad.add(id);
    }
    return bad;
  }

  /** Names every file of every backup of the domain that needs one of the blocks. */
  async nameFiles(bad: ReadonlySet<string>): Promise<void> {
    if (bad.size === 0) return;
    for (const backup of await backupsOf(this.#registry, this.#domain)) {
      for await (const page of this.#registry.entries.list(backup.sourceId, backup.seq))
        for (const entry of page) await this.#nameFile(backup, entry, bad);
    }
  }

  async #nameFile(
    backup: BackupInfo,
    { dir, name, state }: EntryVersion,
    bad: ReadonlySet<string>,
  ): Promise<void> {
    const decoded = decodeState(state);
    const trees = decoded.recipe?.items.filter((item) => item.kind === 'recipe') ?? [];
    const own = blockIdsOf(decoded)
      .map(hex)
      .find((id) => bad.has(id));
    const block =
      own ??
      (await this.#badBelow(
        trees.map(({ id }) => id),
        bad,
      ));
    if (!block) return;
    const path = name.length === 0 ? dir : joinPath(dir, name);
    this.#onFinding({ code: 'TM1601', block, backup, path, message: `block ${block}` });
  }

  async #badBelow(trees: readonly Buffer[], bad: ReadonlySet<string>): Promise<string | undefined> {
    for (let level = trees; level.length > 0; ) {
      const below: Buffer[] = [];
      for (const row of await this.#registry.blocks.locate(this.#domain, level)) {
        const children = idsIn(row?.children ?? Buffer.alloc(0));
        const found = children.map(hex).find((id) => bad.has(id));
        if (found) return found;
        for (const child of await this.#registry.blocks.locate(this.#domain, children))
          if (child?.kind === BlockKind.recipe) below.push(child.id);
      }
      level = below;
    }
    return undefined;
  }
}

/** Blocks that a state names, as latin1, and its recipe blocks among them. */
function namedBy(state: EntryState, ids: Set<string>, trees: Buffer[]): void {
  for (const id of blockIdsOf(state)) ids.add(id.toString('latin1'));
  for (const item of state.recipe?.items ?? []) if (item.kind === 'recipe') trees.push(item.id);
}

function idsIn(bytes: Buffer): Buffer[] {
  const ids: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += ID_BYTES) ids.push(bytes.subarray(at, at + ID_BYTES));
  return ids;
}
