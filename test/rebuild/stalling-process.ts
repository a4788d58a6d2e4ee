import { Engine } from '../../libs/embedded/engine.ts';
import { FaultyStore, faults } from '../../libs/store/faulty-store.ts';
import { openStore } from '../../libs/store/open-store.ts';
import type { CollectableStore } from '../../libs/store/port.ts';
import { backUp, type Rig } from './rig.ts';

/**
 * A backup that never gets beyond its journal object, for its parent to kill: says `reached` when it stands before
 * or after having put it. Arguments: config of the engine (JSON), folder, before | after.
 */
const [config, dir, when] = process.argv.slice(2) as [string, string, 'before' | 'after'];

const reached = (): Promise<never> => {
  process.stdout.write('reached\n');
  return new Promise(() => {});
};

/** Its creates of journal objects have their effect and never return. */
function silent(inner: CollectableStore): CollectableStore {
  return new Proxy(inner, {
    get: (target, key: keyof CollectableStore) => {
      if (key !== 'create') return typeof target[key] === 'function' ? target[key].bind(target) : target[key];
      return async (name: string, parts: readonly Uint8Array[]) => {
        const outcome = await target.create(name, parts);
        return name.startsWith('journal/') ? reached() : outcome;
      };
    },
  });
}

const keepAlive = setInterval(() => {}, 1000);
const engine = await Engine.open({
  ...(JSON.parse(config) as ReturnType<Rig['config']>),
  onStatus: () => {},
  openStore: async (url, options) => {
    const store = await openStore(url, options);
    if (when === 'after') return silent(store);
    const wait = { ...faults.stall().fault, until: reached };
    return new FaultyStore(store).inject('create', wait, { prefix: 'journal/' });
  },
});
await backUp(engine, dir);
clearInterval(keepAlive);
