import { locate, packName, readPackIndex } from '../blocks/pack.ts';
import { TmError } from '../model/errors.ts';
import type { BlockRow, Registry } from '../registry/port.ts';
import type { Store } from '../store/port.ts';
import type { OnFinding } from './finding.ts';

const PACK_NAME = /^packs\/[0-9a-f]{2}\/([0-9a-f]{64})$/;
const IDS_AT_ONCE = 1000;

interface PackDeps {
  readonly registry: Registry;
  readonly store: Store;
  /** Ids of the domains whose packs are taken in. */
  readonly domains: ReadonlySet<string>;
  readonly onFinding: OnFinding;
}

/**
 * Takes packs of the domains into the registry by their indexes: those of which `wanted` is true. A pack whose index is
 * damaged is a finding; its blocks count as missing. Gives how many were taken in.
 */
export async function takeInPacks(deps: PackDeps, wanted: (id: string) => boolean): Promise<number> {
  let taken = 0;
  for await (const { name, size } of deps.store.list('packs/')) {
    const hex = PACK_NAME.exec(name)?.[1];
    if (hex === undefined || name !== packName(Buffer.from(hex, 'hex')) || !wanted(hex)) continue;
    if (await takeInPack(deps, Buffer.from(hex, 'hex'), size)) taken++;
  }
  return taken;
}

async function takeInPack(
  { registry, store, domains, onFinding }: PackDeps,
  id: Buffer,
  size: number,
): Promise<boolean> {
  const name = packName(id);
  try {
    const index = await readPackIndex((offset, length) => store.read(name, { offset, length }), size);
    const { domainId } = index;
    if (!domains.has(domainId)) return false;
    const blocks = index.frames.flatMap((frame): BlockRow[] => locate(id, frame));
    await registry.blocks.beginPack(domainId, { id, size });
    await registry.blocks.finishPack(domainId, { id, size, keys: index.keys.map((key) => key.id) }, blocks);
    return true;
  } catch (error) {
    if (!(error instanceof TmError) || error.spec.retry || error.code.startsWith('TM13')) throw error;
    onFinding({ code: error.code, object: name, message: `${name}: ${error.message}` });
    return false;
  }
}

/** Marks the blocks of packs that are known to be damaged, so that another pack that has them takes their place. */
export async function distrustPacks(
  registry: Registry,
  domainId: string,
  packs: Iterable<string>,
): Promise<void> {
  for (const pack of packs) {
    const blocks = await registry.blocks.blocksOf(domainId, Buffer.from(pack, 'hex'));
    await distrustBlocks(
      registry,
      domainId,
      blocks.map(({ id }) => id),
    );
  }
}

export async function distrustBlocks(
  registry: Registry,
  domainId: string,
  ids: readonly Buffer[],
): Promise<void> {
  for (let at = 0; at < ids.length; at += IDS_AT_ONCE)
    await registry.blocks.markDamaged(domainId, ids.slice(at, at + IDS_AT_ONCE));
}

/** Ids of the domain's packs that the registry has whole. */
export async function knownPacks(registry: Registry, domainId: string): Promise<Set<string>> {
  const known = new Set<string>();
  for await (const page of registry.blocks.packs(domainId))
    for (const { id, state } of page) if (state !== 'writing') known.add(id.toString('hex'));
  return known;
}
