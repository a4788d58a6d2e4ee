import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { BlockKind, type SealedFrame } from '../blocks/intake.ts';
import { newDomain } from '../blocks/keys.ts';
import { packName, readPackIndex } from '../blocks/pack.ts';
import { dataKeyName } from '../commit/data-key.ts';
import { writerRoutes } from '../contracts/api/writer.ts';
import { decodeFrames, encodeFrames, NO_LIMITS } from '../contracts/frame-stream.ts';
import type { HttpClient } from '../http/client.ts';
import type { ServerRig } from '../http/rig.suite.ts';
import { ByteWriter } from '../model/byte-writer.ts';
import { blake3 } from '../model/digests.ts';
import { decodeState, encodeHoles, encodeRecipeBlock, encodeState, type Recipe } from '../model/entry.ts';
import { TmError } from '../model/errors.ts';
import { RecordOp } from '../model/records.ts';
import {
  commit,
  committedBackup,
  fileState,
  keyOf,
  NOW,
  newSource,
  segmentOf,
} from '../registry/fixtures.suite.ts';
import { placeAt } from '../restore/block-supplier.ts';
import { FaultyStore } from '../store/faulty-store.ts';
import { AGENT, FOREIGN, INSTANCE, IntakeRig, idsOf, READER } from './rig.suite.ts';

const MIB = 1024 * 1024;
const { missing, putKey, putFrames, locate, readPack, content } = writerRoutes;

let rig: IntakeRig;
let server: ServerRig;
let client: HttpClient;
let id: string;

beforeAll(async () => {
  rig = await IntakeRig.make();
});
afterAll(() => rig.close());
afterEach(() => rig.stopServers());

/** A writer, and an open backup whose data key is put. */
async function start(options: Parameters<IntakeRig['server']>[0] = {}): Promise<void> {
  server = await rig.server(options);
  client = server.client(AGENT, { instance: INSTANCE });
  id = (await rig.open()).backup.id;
  await client.call(putKey, {
    params: { id, keyId: rig.dataKey.id.toString('hex') },
    body: rig.dataKey.wrapped,
  });
}

const encoded = (frames: readonly SealedFrame[]): Buffer[] => [...encodeFrames(frames)];
const put = (frames: readonly SealedFrame[], by = client, backup = id) =>
  by.call(putFrames, { params: { id: backup }, body: encoded(frames) });
const code = (error: string) => expect.objectContaining({ code: error });

test('frames of one request are one pack with its index and wrapped keys, and their blocks are there', async () => {
  await start();
  const frames = [rig.frame(100, 200), rig.frame(3 * MIB)];
  const ask = () => client.call(missing, { params: { id }, body: idsOf(frames) });
  expect([...(await ask())]).toEqual([1, 1, 1]);
  const { pack, size } = await put(frames);
  expect([...(await ask())]).toEqual([0, 0, 0]);
  const name = packName(Buffer.from(pack, 'hex'));
  expect((await rig.store.stat(name))?.size).toBe(size);
  const index = await readPackIndex((offset, length) => rig.store.read(name, { offset, length }), size);
  expect(index.domainId).toBe(rig.domain.id);
  expect(index.keys).toEqual([{ id: rig.dataKey.id, wrapped: rig.dataKey.wrapped }]);
  expect(index.frames.map(({ checksum }) => checksum)).toEqual(frames.map(({ checksum }) => checksum));
  expect(await rig.store.read(dataKeyName(rig.dataKey.id))).toEqual(rig.dataKey.wrapped);
});

test('a request that comes twice, also at the same time, is acknowledged each time with one pack', async () => {
  await start();
  const frames = [rig.frame(5000)];
  const before = (await rig.packs()).length;
  const answers = await Promise.all([put(frames), put(frames), put(frames)]);
  answers.push(await put(frames));
  expect(new Set(answers.map(({ pack }) => pack)).size).toBe(1);
  expect((await rig.packs()).length).toBe(before + 1);
  expect(await rig.present(frames)).toEqual([1]);
});

test('a block that two requests bring keeps its first place', async () => {
  await start();
  const bytes = randomBytes(1000);
  const [one, two] = [rig.seal(rig.block(bytes)), rig.seal(rig.block(bytes), rig.block(randomBytes(10)))];
  const first = await put([one]);
  await put([two]);
  const places = await client.call(locate, { params: { id }, body: idsOf([two]) });
  expect(placeAt(places, 0)!.pack.toString('hex')).toBe(first.pack);
  expect(await rig.present([two])).toEqual([1, 1]);
});

test('a body that is cut in the middle is TM1810 and stores nothing', async () => {
  await start();
  const before = await rig.packs();
  const frames = [rig.frame(1000), rig.frame(1000)];
  const stream = Buffer.concat(encoded(frames));
  for (const length of [stream.length - 12, stream.length - 1, 2000, 3, 0]) {
    const body = stream.subarray(0, length);
    await expect(client.call(putFrames, { params: { id }, body })).rejects.toThrow(code('TM1810'));
  }
  // Cut by the connection's end: nobody is there to be told.
  await server.raw(Buffer.concat([head(stream.length), stream.subarray(0, 1500)]), { end: true });
  expect(await rig.packs()).toEqual(before);
  expect(await rig.present(frames)).toEqual([0, 0]);
});

const head = (length: number): Buffer =>
  Buffer.from(
    `POST /v1/backups/${id}/frames HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${AGENT}\r\n` +
      `Tidemark-Instance: ${INSTANCE}\r\nContent-Length: ${length}\r\n\r\n`,
  );

test('a slow-loris body is given up as TM1810 and its memory is free again', async () => {
  await start({ limits: { idle: 200 }, budgetBytes: 10_000 });
  const frames = [rig.frame(1000)];
  const stream = Buffer.concat(encoded(frames));
  const answer = server.raw(Buffer.concat([head(9000), stream.subarray(0, 500)]));
  expect(await answer).toContain('TM1810');
  await put(frames);
});

test('a wrong checksum, an oversized frame and a stream over the limit are refused and store nothing', async () => {
  await start();
  const before = await rig.packs();
  const flipped = Buffer.concat(encoded([rig.frame(1000)]));
  flipped[500]! ^= 1;
  const oversized = Buffer.from('TMF1ffffff7f2b00000005000000', 'latin1');
  for (const body of [flipped, oversized])
    await expect(client.call(putFrames, { params: { id }, body })).rejects.toThrow(code('TM1810'));
  const large = Buffer.alloc(putFrames.maxBody! + 1);
  await expect(client.call(putFrames, { params: { id }, body: large })).rejects.toThrow(code('TM1809'));
  expect(await rig.packs()).toEqual(before);
});

test('who is not the agent of the backup writes nothing: foreign, reader, revoked, copied without its instance', async () => {
  await start();
  const frames = [rig.frame(100)];
  const refused: [HttpClient, string][] = [
    [server.client(FOREIGN, { instance: INSTANCE }), 'TM1802'],
    [server.client(READER), 'TM1802'],
    [server.client(AGENT), 'TM1807'],
    [server.client('tm_agent_a1_guess', { instance: INSTANCE }), 'TM1801'],
    [server.client(), 'TM1801'],
  ];
  for (const [by, expected] of refused) await expect(put(frames, by)).rejects.toThrow(code(expected));
  const foreign = refused[0]![0];
  const keyId = randomBytes(16).toString('hex');
  const body = rig.dataKey.wrapped;
  await expect(foreign.call(missing, { params: { id }, body: idsOf(frames) })).rejects.toThrow(
    code('TM1802'),
  );
  await expect(foreign.call(putKey, { params: { id, keyId }, body })).rejects.toThrow(code('TM1802'));
  await expect(foreign.call(locate, { params: { id }, body: idsOf(frames) })).rejects.toThrow(code('TM1802'));
  const ofNobody = await newSource(rig.registry, undefined, rig.domain.id);
  const embedded = await rig.registry.backups.open({ sourceId: ofNobody.id, kind: 'full', tags: {} }, NOW);
  const nameless = server.client(rig.tokens.add('tm_agent_a3_x'), { instance: INSTANCE });
  for (const by of [client, nameless])
    await expect(put(frames, by, embedded.backup.id)).rejects.toThrow(code('TM1802'));
  const { agent } = rig;
  rig.tokens.tokens.delete(AGENT);
  await expect(put(frames)).rejects.toThrow(code('TM1801'));
  rig.tokens.tokens.set(AGENT, agent);
  expect(await rig.present(frames)).toEqual([0]);
});

test('a backup that has ended takes nothing: TM1507 when it was sealed, TM1502 when it was failed', async () => {
  await start();
  const committed = await rig.open();
  await commit(rig.registry, committed);
  await rig.registry.backups.fail(id, 'TM1512', []);
  const frames = [rig.frame(100)];
  await expect(put(frames)).rejects.toMatchObject({ code: 'TM1502', status: 409 });
  await expect(put(frames, client, committed.backup.id)).rejects.toMatchObject({
    code: 'TM1507',
    status: 409,
  });
  await expect(put(frames, client, randomUUID())).rejects.toMatchObject({ code: 'TM1701', status: 404 });
  expect(await rig.present(frames)).toEqual([0]);
});

test('a backup that ends while its frames come in is told so', async () => {
  await start();
  const stream = Buffer.concat(encoded([rig.frame(1000)]));
  const service = rig.intake();
  const body = async function* () {
    yield stream.subarray(0, 100);
    await rig.registry.backups.fail(id, 'TM1512', []);
    yield stream.subarray(100);
  };
  const given = Object.assign(body(), { length: stream.length });
  await expect(service.putFrames(rig.agent, id, given)).rejects.toThrow(code('TM1502'));
});

test('frames under a key that was not put are refused; a key is put once and never replaced', async () => {
  await start();
  const keyId = randomBytes(16);
  const params = { id, keyId: keyId.toString('hex') };
  const frame = rig.frame(100);
  const header = Buffer.from(frame.bytes);
  keyId.copy(header, 4);
  const other = { ...frame, bytes: header, keyId, checksum: blake3(header).subarray(0, 16) };
  await expect(put([other])).rejects.toThrow('was not put before its frames');
  await expect(client.call(putKey, { params, body: Buffer.from('no age file') })).rejects.toThrow(
    code('TM1807'),
  );
  await client.call(putKey, { params, body: rig.dataKey.wrapped });
  await client.call(putKey, { params, body: rig.dataKey.wrapped });
  const changed = Buffer.concat([rig.dataKey.wrapped, Buffer.from('x')]);
  await expect(client.call(putKey, { params, body: changed })).rejects.toThrow('another key has that id');
  await put([other]);
});

test('uploads that are more than the memory for them are put off with TM1808, and taken later', async () => {
  const store = new FaultyStore(rig.store);
  await start({ store, budgetBytes: 15_000 });
  const gate = Promise.withResolvers<void>();
  const inside = Promise.withResolvers<void>();
  store.inject(
    'create',
    {
      kind: 'wait',
      until: () => {
        inside.resolve();
        return gate.promise;
      },
    },
    { prefix: 'packs/' },
  );
  const first = put([rig.frame(10_000)]);
  await inside.promise;
  const second = [rig.frame(10_000)];
  await expect(put(second)).rejects.toMatchObject({ code: 'TM1808', status: 503, retryAfter: 1000 });
  gate.resolve();
  await first;
  await put(second);
});

test('a store that fails stores nothing that is acknowledged, and the same frames are taken afterwards', async () => {
  const store = new FaultyStore(rig.store);
  await start({ store });
  store.inject('create', { kind: 'fail', error: new TmError('TM1211', '/some/path') }, { prefix: 'packs/' });
  const frames = [rig.frame(100)];
  const failure = put(frames);
  await expect(failure).rejects.toMatchObject({ code: 'TM1211', status: 503 });
  await expect(failure).rejects.not.toThrow('/some/path');
  expect(await rig.present(frames)).toEqual([0]);
  await put(frames);
  expect(await rig.present(frames)).toEqual([1]);
});

test('questions that are no ids, or too many of them, are refused', async () => {
  await start();
  for (const length of [0, 31, 33])
    await expect(client.call(missing, { params: { id }, body: Buffer.alloc(length) })).rejects.toThrow(
      code('TM1807'),
    );
  await expect(client.call(missing, { params: { id }, body: Buffer.alloc(32 * 4097) })).rejects.toThrow(
    code('TM1809'),
  );
  expect(await client.call(missing, { params: { id }, body: Buffer.alloc(32 * 4096) })).toHaveLength(4096);
});

test('packs are read in ranges, by readers and the own agent, of the domain of a committed backup only', async () => {
  await start();
  const frames = [rig.frame(9 * MIB - 2 * MIB), rig.frame(100)];
  const { pack, size } = await put(frames);
  const whole = await rig.store.read(packName(Buffer.from(pack, 'hex')));
  const reader = server.client(READER);
  const params = { id, pack };
  await expect(reader.call(readPack, { params, query: { offset: 0, length: 10 } })).rejects.toThrow(
    code('TM1701'),
  );
  const committed = await rig.open();
  await commit(rig.registry, committed);
  params.id = committed.backup.id;
  for (const by of [reader, client]) {
    expect((await by.call(readPack, { params, query: { offset: 0, length: size } })).equals(whole)).toBe(
      true,
    );
    const part = await by.call(readPack, { params, query: { offset: 5, length: 7 } });
    expect(part.equals(whole.subarray(5, 12))).toBe(true);
  }
  const beyond = reader.call(readPack, { params, query: { offset: size - 1, length: 2 } });
  await expect(beyond).rejects.toThrow(code('TM1206'));
  const unknown = { ...params, pack: '00'.repeat(32) };
  await expect(reader.call(readPack, { params: unknown, query: { offset: 0, length: 1 } })).rejects.toThrow(
    code('TM1205'),
  );
  for (const query of [
    { offset: -1, length: 1 },
    { offset: 0, length: 0 },
    { offset: 0, length: 16 * MIB + 1 },
  ])
    await expect(reader.call(readPack, { params, query })).rejects.toThrow(code('TM1807'));
  const elsewhere = await newSource(
    rig.registry,
    undefined,
    (await newDomain(randomUUID(), randomBytes(32))).id,
  );
  const foreign = await committedBackup(rig.registry, elsewhere, 'full', []);
  params.id = foreign.backup.id;
  await expect(reader.call(readPack, { params, query: { offset: 0, length: 1 } })).rejects.toThrow(
    code('TM1811'),
  );
  const places = await reader.call(locate, { params: { id: foreign.backup.id }, body: idsOf(frames) });
  expect(placeAt(places, 0)).toBeUndefined();
});

test('the content of a file comes as its frames in order, found through recipe blocks without a key', async () => {
  await start();
  const data = Array.from({ length: 6 }, () => rig.block(randomBytes(2000)));
  const item = (block: (typeof data)[number]) => ({
    kind: 'block' as const,
    id: block.id,
    length: block.length,
  });
  const recipeOf = (blocks: typeof data) => {
    const bytes = encodeRecipeBlock(blocks.map(item));
    return rig.block(bytes, BlockKind.recipe, Buffer.concat(blocks.map((block) => block.id)));
  };
  const recipes = [recipeOf(data.slice(0, 3)), recipeOf(data.slice(3))];
  const holes = rig.block(encodeHoles([{ offset: 0, length: 4096 }]).finish(), BlockKind.holes);
  // Two packs; the second block lies with the recipe blocks, far from its neighbours.
  const frames = [
    rig.seal(data[0]!, data[2]!),
    rig.seal(recipes[0]!, recipes[1]!, data[1]!),
    rig.seal(data[3]!, data[4]!, data[5]!),
    rig.seal(holes),
  ];
  await put([frames[2]!, frames[0]!]);
  await put([frames[1]!, frames[3]!]);
  const recipe: Recipe = {
    depth: 1,
    items: recipes.map((block) => ({
      kind: 'recipe',
      id: block.id,
      length: 6000,
      blockLength: block.length,
    })),
    holes: { kind: 'block', id: holes.id, blockLength: holes.length },
  };
  const source = await rig.source();
  const opened = await rig.registry.backups.open({ sourceId: source.id, kind: 'full', tags: {} }, NOW);
  await rig.registry.entries.apply(opened.backup, [segmentOf(source, 0, [fileRecord('dir/é', recipe)])]);
  const params = { id: opened.backup.id };
  const query = { path: Buffer.from('dir/é').toString('base64url') };
  const reader = server.client(READER);
  await expect(reader.call(content, { params, query })).rejects.toThrow(code('TM1701'));
  await commit(rig.registry, opened);
  const stream = await reader.stream(content, { params, query });
  const got = await Array.fromAsync(decodeFrames(stream, NO_LIMITS));
  // Holes, recipe 0, its blocks 0, 1, 2 (each elsewhere than the one before), recipe 1, blocks 3 to 5.
  const order = [3, 1, 0, 1, 0, 1, 2].map((n) => frames[n]!);
  expect(got.map(({ checksum }) => checksum)).toEqual(order.map(({ checksum }) => checksum));
  expect(got.map(({ index }) => index)).toEqual(order.map(({ index }) => index));
  const noSuch = { path: Buffer.from('dir/nix').toString('base64url') };
  await expect(reader.call(content, { params, query: noSuch })).rejects.toThrow(code('TM1704'));
});

function fileRecord(path: string, recipe: Recipe) {
  const out = new ByteWriter(300);
  encodeState({ ...decodeState(fileState(1)), recipe }, out);
  return { ...keyOf(path), op: RecordOp.present, state: out.finish(), hints: Buffer.alloc(32), code: 0 };
}
