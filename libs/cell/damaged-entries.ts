import { blockIdsOf, decodeState, type EntryState } from '../model/entry.ts';
import type { TreePath } from '../model/tree-path.ts';
import type { EntryVersion, Registry, SourceRow } from '../registry/port.ts';
import type { EntrySet } from '../scan/index.ts';

/** Damaged entries that are remembered one by one; with more of them everything is read. */
const MAX_ENTRIES = 100_000;

/**
 * Entries of a backup of which the store has lost or damaged a block, as far as `verify` has found that out: the next
 * backup reads them again, so that what is still the same on disk is stored anew (1-architecture, "One slot per source").
 * Undefined where no block is known to be damaged, which is one look at an index.
 */
export async function damagedEntries(
  registry: Pick<Registry, 'entries' | 'blocks'>,
  { id, domain }: SourceRow,
  seq: number,
): Promise<EntrySet | 'too many' | undefined> {
  if (!(await registry.blocks.hasDamage(domain))) return undefined;
  const found = new Set<string>();
  for await (const page of registry.entries.list(id, seq)) {
    for (const { dir, name } of await damagedOf(registry, domain, page)) found.add(keyOf(dir, name));
    if (found.size > MAX_ENTRIES) return 'too many';
  }
  return { has: (dir, name) => found.has(keyOf(dir, name)) };
}

const keyOf = (dir: TreePath, name: Buffer): string =>
  `${dir.toString('latin1')}\0\0${name.toString('latin1')}`;

/** Those of the entries of which a block is missing or damaged. */
export async function damagedOf(
  registry: Pick<Registry, 'blocks'>,
  domain: string,
  page: readonly EntryVersion[],
): Promise<EntryVersion[]> {
  const states = page.map(({ state }) => decodeState(state));
  const lacking = await lackingOf(registry, domain, states.flatMap(blockIdsOf));
  const damaged: EntryVersion[] = [];
  for (const [i, state] of states.entries()) {
    const own = blockIdsOf(state).some((id) => lacking.has(id.toString('latin1')));
    if (own || (await lacksBelow(registry, domain, state))) damaged.push(page[i]!);
  }
  return damaged;
}

/** Of the ids those whose blocks are missing or damaged, as latin1. */
async function lackingOf(
  { blocks }: Pick<Registry, 'blocks'>,
  domain: string,
  ids: readonly Buffer[],
): Promise<Set<string>> {
  if (ids.length === 0) return new Set();
  const present = await blocks.present(domain, Buffer.concat(ids));
  return new Set(ids.filter((_, i) => present[i] === 0).map((id) => id.toString('latin1')));
}

/** Level by level below the recipe blocks of a large file. */
async function lacksBelow(
  registry: Pick<Registry, 'blocks'>,
  domain: string,
  { recipe }: EntryState,
): Promise<boolean> {
  let level = recipe?.items.flatMap((item) => (item.kind === 'recipe' ? [item.id] : [])) ?? [];
  while (level.length > 0) {
    const rows = await registry.blocks.locate(domain, level);
    const children = rows.flatMap((row) => idsIn(row?.children ?? Buffer.alloc(0)));
    if ((await lackingOf(registry, domain, children)).size > 0) return true;
    level = children.length === 0 ? [] : await treesAmong(registry, domain, children);
  }
  return false;
}

async function treesAmong(
  { blocks }: Pick<Registry, 'blocks'>,
  domain: string,
  ids: readonly Buffer[],
): Promise<Buffer[]> {
  const rows = await blocks.locate(domain, ids);
  return rows.flatMap((row) => (row && row.children.length > 0 ? [row.id] : []));
}

function idsIn(ids: Buffer): Buffer[] {
  const all: Buffer[] = [];
  for (let at = 0; at < ids.length; at += 32) all.push(ids.subarray(at, at + 32));
  return all;
}
