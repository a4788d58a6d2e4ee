import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CollectableStore, ObjectInfo, Store } from './port.ts';

export interface StoreUnderTest {
  readonly store: CollectableStore;
  /** A second store object over the same place, for what two users see of each other. */
  readonly reopen?: () => Promise<CollectableStore>;
  readonly cleanup?: () => Promise<void>;
}

const bytes = (text: string): Buffer => Buffer.from(text);

async function listed(store: Store, prefix: string, after?: string): Promise<ObjectInfo[]> {
  const found: ObjectInfo[] = [];
  for await (const info of store.list(prefix, after)) found.push(info);
  return found;
}

const names = async (store: Store, prefix: string, after?: string): Promise<string[]> =>
  (await listed(store, prefix, after)).map(({ name }) => name);

const code = (expected: string) => expect.objectContaining({ code: expected });

/** What every adapter of the store port promises. */
export function storeSuite(name: string, make: () => Promise<StoreUnderTest>): void {
  describe(`store: ${name}`, () => {
    let under: StoreUnderTest;
    let store: CollectableStore;
    beforeEach(async () => {
      under = await make();
      store = under.store;
    });
    afterEach(async () => {
      await store.close();
      await under.cleanup?.();
    });

    const get = (): CollectableStore => store;
    describeCreate(get, () => under);
    describeRead(get);
    describeList(get);
    describeNames(get);

    it('names the file of an object where objects lie as files', async () => {
      await store.create('packs/aa/a', [bytes('first '), bytes('second')]);
      const file = store.fileOf?.('packs/aa/a');
      if (file !== undefined) expect(readFileSync(file, 'utf8')).toBe('first second');
    });

    it('deletes, also what is not there', async () => {
      await store.create('packs/aa/one', [bytes('1')]);
      await store.delete('packs/aa/one');
      await store.delete('packs/aa/one');
      await store.delete('packs/bb/never');
      expect(await store.stat('packs/aa/one')).toBeUndefined();
      expect(await names(store, '')).toEqual([]);
      expect(await store.create('packs/aa/one', [bytes('2')])).toBe('created');
      expect(await store.read('packs/aa/one')).toEqual(bytes('2'));
    });
  });
}

function describeCreate(get: () => CollectableStore, under: () => StoreUnderTest): void {
  it('stores the concatenation of the parts and leaves them as they were', async () => {
    const parts = [bytes('ab'), Buffer.alloc(0), bytes('cde'), new Uint8Array([0, 255])];
    expect(await get().create('a/b/c', parts)).toBe('created');
    expect(await get().read('a/b/c')).toEqual(Buffer.from([0x61, 0x62, 0x63, 0x64, 0x65, 0, 255]));
    expect(await get().stat('a/b/c')).toEqual({ name: 'a/b/c', size: 7 });
    expect(parts[2]).toEqual(bytes('cde'));
  });

  it('stores an empty object, and one of thousands of parts', async () => {
    expect(await get().create('empty', [])).toBe('created');
    expect(await get().read('empty')).toEqual(Buffer.alloc(0));
    const parts = Array.from({ length: 3000 }, (_, i) => bytes(`${i},`));
    await get().create('many', parts);
    expect(await get().read('many')).toEqual(Buffer.concat(parts));
  });

  it('says existed for the same bytes, however they are cut, and TM1210 for others', async () => {
    const big = Buffer.alloc(3_000_000, 'tidemark');
    await get().create('p/one', [big]);
    expect(await get().create('p/one', [big.subarray(0, 1_500_001), big.subarray(1_500_001)])).toBe(
      'existed',
    );
    const altered = Buffer.from(big);
    altered[2_999_999]! ^= 1;
    for (const other of [altered, big.subarray(1), Buffer.concat([big, bytes('x')]), Buffer.alloc(0)]) {
      await expect(get().create('p/one', [other])).rejects.toEqual(code('TM1210'));
    }
    expect((await get().read('p/one')).equals(big)).toBe(true);
  });

  it('lets exactly one of many creates of a name win', async () => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) => get().create('owner/1', [bytes(`registry ${i % 2}`)])),
    );
    const values = outcomes.map((outcome) =>
      outcome.status === 'fulfilled' ? outcome.value : outcome.reason.code,
    );
    expect(values.filter((value) => value === 'created')).toHaveLength(1);
    expect(values.filter((value) => value === 'existed')).toHaveLength(9);
    expect(values.filter((value) => value === 'TM1210')).toHaveLength(10);
  });

  it('shows what it created to others that have the place open', async () => {
    const other = await under().reopen?.();
    if (other === undefined) return;
    await get().create('x/y', [bytes('z')]);
    expect(await other.read('x/y')).toEqual(bytes('z'));
    expect(await other.create('x/y', [bytes('z')])).toBe('existed');
    await other.close();
  });
}

function describeRead(get: () => CollectableStore): void {
  it('reads ranges within the object only', async () => {
    await get().create('r', [bytes('0123456789')]);
    expect(await get().read('r', { offset: 3, length: 4 })).toEqual(bytes('3456'));
    expect(await get().read('r', { offset: 10, length: 0 })).toEqual(Buffer.alloc(0));
    for (const [offset, length] of [
      [0, 11],
      [10, 1],
      [11, 0],
      [-1, 2],
      [0, 2 ** 60],
      [0.5, 1],
    ] as const) {
      await expect(get().read('r', { offset, length })).rejects.toEqual(code('TM1206'));
    }
  });

  it('gives a buffer of its own', async () => {
    await get().create('own', [bytes('abc')]);
    (await get().read('own')).fill(0);
    expect(await get().read('own')).toEqual(bytes('abc'));
  });

  it('says TM1205 for what is missing, be it a prefix of names or below one', async () => {
    await get().create('a/b', [bytes('1')]);
    for (const missing of ['nothing', 'a', 'a/c', 'a/b/c', 'x/y/z']) {
      await expect(get().read(missing)).rejects.toEqual(code('TM1205'));
      expect(await get().stat(missing)).toBeUndefined();
    }
  });
}

function describeList(get: () => CollectableStore): void {
  it('lists by bytes of whole names, where slash stands between dot and nought', async () => {
    const all = ['B', 'a', 'b-a', 'b.a', 'b/c', 'b/d/e', 'b/d0', 'b0', 'b_'];
    for (const name of [...all].reverse()) await get().create(name, [bytes(name)]);
    const sorted = [...all].sort((x, y) => Buffer.compare(bytes(x), bytes(y)));
    expect(await listed(get(), '')).toEqual(sorted.map((name) => ({ name, size: name.length })));
    expect(await names(get(), 'b/')).toEqual(['b/c', 'b/d/e', 'b/d0']);
    expect(await names(get(), 'b/d')).toEqual(['b/d/e', 'b/d0']);
    expect(await names(get(), 'b', 'b/c')).toEqual(['b/d/e', 'b/d0', 'b0', 'b_']);
    expect(await names(get(), 'b/', 'b/~')).toEqual([]);
    expect(await names(get(), '', 'b/')).toEqual(['b/c', 'b/d/e', 'b/d0', 'b0', 'b_']);
    expect(await names(get(), 'nothing/')).toEqual([]);
    expect(await names(get(), '../')).toEqual([]);
  });

  it('lists any set of names as a sorted array would', async () => {
    const component = fc.stringMatching(/^[a0._-]{1,2}$/).filter((text) => !/^\.+$/.test(text));
    const name = fc.array(component, { minLength: 1, maxLength: 2 }).map((parts) => parts.join('/'));
    let round = 0;
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(name, { maxLength: 8 }), name, name, async (given, prefix, after) => {
        const top = `round-${round++}`;
        const free = given.filter((one) => !given.some((other) => other.startsWith(`${one}/`)));
        const all = free.map((one) => `${top}/${one}`).sort();
        for (const one of all) await get().create(one, [bytes('x')]);
        expect(await names(get(), `${top}/`)).toEqual(all);
        expect(await names(get(), `${top}/${prefix}`, `${top}/${after}`)).toEqual(
          all.filter((one) => one.startsWith(`${top}/${prefix}`) && one > `${top}/${after}`),
        );
      }),
      { numRuns: 40 },
    );
  });

  it('lists more names than one batch, and may be left early', async () => {
    const all = Array.from({ length: 200 }, (_, i) => `n/${String(i).padStart(4, '0')}`);
    await Promise.all(all.map((name) => get().create(name, [bytes(name)])));
    expect(await names(get(), 'n/')).toEqual(all);
    for await (const { name } of get().list('n/')) {
      expect(name).toBe(all[0]);
      break;
    }
  });
}

function describeNames(get: () => CollectableStore): void {
  it('refuses names that are none', async () => {
    const bad = [
      '',
      '/',
      '/a',
      'a/',
      'a//b',
      '.',
      '..',
      'a/../b',
      '../a',
      'a b',
      'ä',
      'a\0b',
      'a\\b',
      'tmp/x',
      'tmp',
    ];
    for (const name of [...bad, 'a'.repeat(256), `${'a/'.repeat(600)}a`]) {
      await expect(get().create(name, [bytes('x')])).rejects.toEqual(code('TM1099'));
      await expect(get().read(name)).rejects.toEqual(code('TM1099'));
      await expect(get().stat(name)).rejects.toEqual(code('TM1099'));
      await expect(get().delete(name)).rejects.toEqual(code('TM1099'));
    }
    expect(await names(get(), '')).toEqual([]);
  });
}
