import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { TmError } from '../../libs/model/errors.ts';
import type { GcsClientOptions } from '../../libs/store/gcs/gcs-client.ts';
import { openGcsStore } from '../../libs/store/gcs/gcs-store.ts';
import type { CollectableStore } from '../../libs/store/port.ts';
import { retryPolicyOf } from '../../libs/store/retry-policy.ts';
import { RetryingStore } from '../../libs/store/retrying-store.ts';
import { storeSuite } from '../../libs/store/store.suite.ts';
import type { Operation } from './faults.ts';
import { ScriptedGcs } from './scripted-gcs.ts';

const BYTES = randomBytes(200_000);
const code = (expected: string) => expect.objectContaining({ code: expected });
/** Milliseconds without any byte after which `hasty` gives a request up. */
const IDLE = 1_000;

let gcs: ScriptedGcs;
beforeAll(async () => {
  gcs = await ScriptedGcs.start({ buckets: ['bucket'] });
});
afterAll(() => gcs.close());

storeSuite('GCS, scripted server', async () => {
  const url = `gs://bucket/suite/${randomUUID()}`;
  const open = () => openGcsStore(url, { endpoint: gcs.url });
  return { store: open(), reopen: async () => open() };
});

storeSuite('GCS, scripted server, a bucket without a prefix', async () => {
  const own = await ScriptedGcs.start({ buckets: ['whole'] });
  return { store: openGcsStore('gs://whole', { endpoint: own.url }), cleanup: () => own.close() };
});

let prefix: string;
let store: CollectableStore;
const opened: CollectableStore[] = [];

/** A store at this test's prefix. */
function open(options: GcsClientOptions = {}, url = `gs://bucket/${prefix}`): CollectableStore {
  const one = openGcsStore(url, { endpoint: gcs.url, ...options });
  opened.push(one);
  return one;
}

const hasty = (): CollectableStore => open({ deadlines: { idle: IDLE } });

/** As commands use it, without the waits between tries. */
function retrying(inner: CollectableStore): CollectableStore {
  let now = 0;
  const sleep = async (delay: number): Promise<void> => {
    now += delay;
  };
  return new RetryingStore(inner, retryPolicyOf(inner.url), { now: () => now, sleep, random: () => 0.5 });
}

async function names(of: CollectableStore): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of of.list('')) found.push(name);
  return found;
}

/** Every call of the port, for what holds for all of them. */
const CALLS: readonly [Operation, (of: CollectableStore) => Promise<unknown>][] = [
  ['upload', (of) => of.create('b', [BYTES])],
  ['read', (of) => of.read('a')],
  ['stat', (of) => of.stat('a')],
  ['list', names],
  ['delete', (of) => of.delete('c')],
];

beforeEach(async () => {
  prefix = randomUUID();
  store = open();
  await store.create('a', [BYTES]);
  await store.create('c', [BYTES]);
});
afterEach(async () => {
  gcs.clearFaults();
  gcs.rights = new Set(['create', 'get', 'list', 'delete']);
  gcs.latency = 0;
  for (const one of opened.splice(0)) await one.close();
});

describe.each(CALLS)('%s', (operation, call) => {
  it.each([408, 429, 500, 502, 503, 504])('says TM1201 for %i, which retrying rides out', async (status) => {
    gcs.inject({ kind: 'status', status, retryAfter: 1 }, { operation });
    await expect(call(store)).rejects.toEqual(code('TM1201'));
    gcs.clearFaults();
    const before = gcs.hits;
    gcs.inject({ kind: 'status', status, retryAfter: 1 }, { operation, times: 6 });
    await call(retrying(store));
    expect(gcs.hits - before).toBe(6);
  });

  it('ends within its deadline when the server goes silent before the headers', async () => {
    gcs.inject({ kind: 'stall', at: 'headers' }, { operation });
    const begin = performance.now();
    await expect(call(hasty())).rejects.toEqual(code('TM1201'));
    expect(performance.now() - begin).toBeLessThan(IDLE * 8);
    await call(store);
  });

  it('ends at the deadline of the call where bytes trickle too slowly for it', async () => {
    gcs.latency = 10_000;
    const begin = performance.now();
    const impatient = open({ deadlines: { idle: 60_000, call: IDLE, slowest: 1e6 } });
    await expect(call(impatient)).rejects.toThrow('no answer within');
    expect(performance.now() - begin).toBeLessThan(IDLE * 8);
  });

  it('survives a connection cut before the headers', async () => {
    gcs.inject({ kind: 'cut', at: 'headers' }, { operation, times: 2 });
    await expect(call(store)).rejects.toEqual(code('TM1201'));
    await call(retrying(store));
  });

  it('names the right that is missing, and does not try again', async () => {
    const right = { upload: 'create', read: 'get', stat: 'get', list: 'list', delete: 'delete' } as const;
    gcs.rights.delete(right[operation]);
    const before = gcs.calls(operation);
    const failed = call(retrying(store));
    await expect(failed).rejects.toEqual(code('TM1214'));
    await expect(failed).rejects.toThrow(`storage.objects.${right[operation]}`);
    expect(gcs.calls(operation) - before).toBe(1);
  });

  it('says TM1214 for 401', async () => {
    gcs.inject({ kind: 'status', status: 401 }, { operation });
    await expect(call(store)).rejects.toEqual(code('TM1214'));
  });

  it('says TM1202 where the bucket does not exist', async () => {
    await expect(call(open({}, 'gs://no-such-bucket/x'))).rejects.toEqual(code('TM1202'));
  });

  it('says TM1201 where nobody listens', async () => {
    const gone = await ScriptedGcs.start({ buckets: [] });
    const endpoint = gone.url;
    await gone.close();
    await expect(call(open({ endpoint }))).rejects.toEqual(code('TM1201'));
  });
});

describe('an upload', () => {
  it('whose reply was lost gives existed', async () => {
    gcs.inject({ kind: 'lose-reply' }, { operation: 'upload' });
    expect(await retrying(store).create('new', [BYTES])).toBe('existed');
    expect((await store.read('new')).equals(BYTES)).toBe(true);
  });

  it('whose reply was lost gives TM1210 where others have put other bytes there meanwhile', async () => {
    gcs.inject({ kind: 'status', status: 503 }, { operation: 'upload' });
    const other = Buffer.from(BYTES);
    other[7]! ^= 1;
    await expect(store.create('new', [BYTES])).rejects.toEqual(code('TM1201'));
    await open().create('new', [other]);
    await expect(store.create('new', [BYTES])).rejects.toEqual(code('TM1210'));
  });

  it('that was altered on its way is refused by its checksum and sent again', async () => {
    gcs.inject({ kind: 'flip-bit-sent' }, { operation: 'upload' });
    await expect(store.create('new', [BYTES])).rejects.toEqual(code('TM1211'));
    expect(await store.stat('new')).toBeUndefined();
    gcs.inject({ kind: 'flip-bit-sent' }, { operation: 'upload' });
    expect(await retrying(store).create('new', [BYTES])).toBe('created');
    expect((await store.read('new')).equals(BYTES)).toBe(true);
  });

  it('of which the server reads nothing ends when no byte moves any more', async () => {
    gcs.inject({ kind: 'stall', at: 'request' }, { operation: 'upload' });
    await expect(hasty().create('new', [randomBytes(16_000_000)])).rejects.toThrow('nothing moved for 1 s');
    expect(await store.create('new', [BYTES])).toBe('created');
  });

  it('over an object of another, by a writer that may not delete, is told by what is there', async () => {
    gcs.rights.delete('delete');
    expect(await store.create('a', [BYTES])).toBe('existed');
    await expect(store.create('a', [BYTES.subarray(1)])).rejects.toEqual(code('TM1210'));
    expect(await store.create('new', [BYTES])).toBe('created');
    expect(gcs.bucket('bucket').find(`${prefix}/a`).bytes.equals(BYTES)).toBe(true);
  });

  it('takes the parts as they are', async () => {
    const marks = [
      Buffer.from('\r\n--tidemark-'),
      Buffer.from('\r\n\r\n'),
      Buffer.alloc(0),
      Buffer.from('--\r\n'),
    ];
    await store.create('marks', marks);
    expect(await store.read('marks')).toEqual(Buffer.concat(marks));
  });
});

describe('a reading', () => {
  it('of content that was altered on its way is done again', async () => {
    gcs.inject({ kind: 'flip-bit' }, { operation: 'read' });
    expect((await store.read('a')).equals(BYTES)).toBe(true);
  });

  it('of altered bytes never passes: the same ones twice are damage, others a failure', async () => {
    gcs.inject({ kind: 'flip-bit' }, { operation: 'read', times: 2 });
    await expect(store.read('a')).rejects.toEqual(code('TM1206'));
    gcs.inject({ kind: 'flip-bit' }, { operation: 'read' });
    gcs.inject({ kind: 'truncate' }, { operation: 'read', nth: 2 });
    await expect(store.read('a')).rejects.toEqual(code('TM1211'));
  });

  it('of an object that the store itself damaged is TM1206', async () => {
    gcs.bucket('bucket').damage(`${prefix}/a`, (bytes) => bytes.fill(0, 10, 20));
    await expect(store.read('a')).rejects.toEqual(code('TM1206'));
  });

  it('of a truncated body never passes', async () => {
    gcs.inject({ kind: 'truncate' }, { operation: 'read', times: 2 });
    await expect(store.read('a')).rejects.toEqual(code('TM1206'));
    gcs.inject({ kind: 'truncate' }, { operation: 'read' });
    await expect(store.read('a', { offset: 5, length: 1000 })).rejects.toEqual(code('TM1211'));
    gcs.inject({ kind: 'truncate' }, { operation: 'read' });
    const range = { offset: 5, length: 1000 };
    expect((await retrying(store).read('a', range)).equals(BYTES.subarray(5, 1005))).toBe(true);
  });

  it('that is cut in the middle of the body is done again', async () => {
    for (const range of [undefined, { offset: 100_000, length: 50_000 }]) {
      gcs.inject({ kind: 'cut', at: 'body' }, { operation: 'read' });
      await expect(store.read('a', range)).rejects.toEqual(code('TM1201'));
      gcs.inject({ kind: 'cut', at: 'body' }, { operation: 'read' });
      const expected = range ? BYTES.subarray(100_000, 150_000) : BYTES;
      expect((await retrying(store).read('a', range)).equals(expected)).toBe(true);
    }
  });

  it('that stalls in the middle of the body ends, and closes no other connection', async () => {
    gcs.inject({ kind: 'stall', at: 'body' }, { operation: 'read' });
    const client = hasty();
    const stalled = client.read('a');
    gcs.latency = IDLE / 4;
    const others = Promise.all(Array.from({ length: 20 }, () => client.read('c')));
    await expect(stalled).rejects.toThrow('nothing moved');
    for (const bytes of await others) expect(bytes.equals(BYTES)).toBe(true);
  });

  it('of a missing object whose bucket went away meanwhile is no damage of the object', async () => {
    const own = await ScriptedGcs.start({ buckets: ['short-lived'] });
    const lost = open({ endpoint: own.url }, 'gs://short-lived');
    await lost.create('a', [BYTES]);
    await expect(lost.read('never')).rejects.toEqual(code('TM1205'));
    own.dropBucket('short-lived');
    await expect(lost.read('a')).rejects.toEqual(code('TM1202'));
    await own.close();
  });

  it('of an object longer than any of ours is refused before it is taken in', async () => {
    gcs
      .bucket('bucket')
      .put(`${prefix}/huge`, Buffer.alloc(65 * 1024 * 1024), undefined, new URLSearchParams());
    await expect(store.read('huge')).rejects.toThrow('longer than');
  });
});

describe('the client', () => {
  it('has many requests under way at once', async () => {
    const own = await ScriptedGcs.start({ buckets: ['bucket'], latency: 100 });
    const many = open({ endpoint: own.url });
    const begin = performance.now();
    await Promise.all(Array.from({ length: 32 }, (_, i) => many.create(`n/${i}`, [BYTES])));
    await Promise.all(Array.from({ length: 32 }, (_, i) => many.read(`n/${i}`)));
    expect(own.peak).toBe(32);
    expect(performance.now() - begin).toBeLessThan(32 * 100);
    await own.close();
  });

  it('goes on with a listing of several pages where one of them fails', async () => {
    for (let i = 0; i < 2500; i++) {
      const name = `${prefix}/many/${String(i).padStart(5, '0')}`;
      gcs.bucket('bucket').put(name, Buffer.alloc(0), undefined, new URLSearchParams());
    }
    gcs.inject({ kind: 'status', status: 503 }, { operation: 'list', nth: 2 });
    const before = gcs.calls('list');
    const found = await names(retrying(store));
    expect(found).toHaveLength(2502);
    expect(new Set(found).size).toBe(2502);
    expect(found).toEqual([...found].sort());
    expect(gcs.calls('list') - before).toBe(4);
  });

  it('ends what is under way soon after an interruption', async () => {
    const interrupt = new AbortController();
    const interrupted = open({ interrupt: interrupt.signal, deadlines: { interrupted: 50 } });
    gcs.inject({ kind: 'stall', at: 'headers' }, { operation: 'upload' });
    const created = interrupted.create('new', [BYTES]);
    interrupt.abort();
    await expect(created).rejects.toEqual(code('TM1508'));
    await expect(interrupted.read('a')).rejects.toEqual(code('TM1508'));
  });

  it('leaves out of lists what is no object of a store', async () => {
    for (const name of ['folder/', 'with space', 'tmp/x', 'ü'])
      gcs.bucket('bucket').put(`${prefix}/${name}`, Buffer.alloc(1), undefined, new URLSearchParams());
    expect(await names(store)).toEqual(['a', 'c']);
  });

  it('refuses STORAGE_EMULATOR_HOST, which would lead a backup away', () => {
    process.env.STORAGE_EMULATOR_HOST = 'http://127.0.0.1:1';
    try {
      expect(() => open()).toThrow(code('TM1002'));
    } finally {
      delete process.env.STORAGE_EMULATOR_HOST;
    }
  });

  it('goes through a proxy where the environment names one', async () => {
    const proxied = open({ endpoint: 'http://storage.invalid', proxyEnv: { HTTP_PROXY: gcs.url } });
    expect((await proxied.read('a')).equals(BYTES)).toBe(true);
  });

  it('says TM1214 without credentials, where no emulator is named', async () => {
    const before = { ...process.env };
    Object.assign(process.env, { GOOGLE_APPLICATION_CREDENTIALS: '/nonexistent/key.json' });
    try {
      const real = open({ endpoint: undefined, deadlines: { call: 20_000 } });
      await expect(real.stat('a')).rejects.toEqual(code('TM1214'));
    } finally {
      process.env = before;
    }
  });

  it('has errors that say whether trying again helps', () => {
    const retries = ['TM1201', 'TM1211'] as const;
    const finals = ['TM1202', 'TM1205', 'TM1206', 'TM1210', 'TM1214'] as const;
    for (const one of retries) expect(new TmError(one).spec.retry).toBe(true);
    for (const one of finals) expect(new TmError(one).spec.retry).toBe(false);
  });
});
