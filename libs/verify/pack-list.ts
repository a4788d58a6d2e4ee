import { packName } from '../blocks/pack.ts';
import type { Registry } from '../registry/port.ts';
import type { Store } from '../store/port.ts';
import type { OnFinding } from './finding.ts';

export interface KnownPack {
  readonly id: Buffer;
  readonly size: number;
}

export interface PackList {
  /** There, with the right size. */
  readonly whole: KnownPack[];
  /** Missing, or of another size. */
  readonly broken: Buffer[];
}

/**
 * Compares the registry's packs of a domain with the store's objects, both in order of their names. Some 100 bytes a pack, so 5 MB
 * for a TB. What the registry does not know of any
 * domain is a notice.
 */
export async function listPacks(
  domain: string,
  registry: Registry,
  store: Store,
  onFinding: OnFinding,
): Promise<PackList> {
  const list: PackList = { whole: [], broken: [] };
  const objects = store.list('packs/')[Symbol.asyncIterator]();
  let object = await objects.next();
  const unknownUntil = async (name: string | undefined) => {
    for (; !object.done && (name === undefined || object.value.name < name); object = await objects.next())
      notice(object.value.name, onFinding);
  };
  for await (const page of registry.blocks.packs()) {
    for (const { id, size, state, domain: owner } of page) {
      const name = packName(id);
      await unknownUntil(name);
      const found = !object.done && object.value.name === name ? object.value.size : undefined;
      if (found !== undefined) object = await objects.next();
      if (state !== 'ready' || owner !== domain) continue;
      if (found === size) list.whole.push({ id, size });
      else {
        list.broken.push(id);
        onFinding(
          found === undefined
            ? { code: 'TM1205', object: name, message: `${name} is missing` }
            : { code: 'TM1206', object: name, message: `${name} has ${found} bytes instead of ${size}` },
        );
      }
    }
  }
  await unknownUntil(undefined);
  return list;
}

function notice(object: string, onFinding: OnFinding): void {
  onFinding({ code: 'TM1213', notice: true, object, message: `${object} is not in the registry` });
}
