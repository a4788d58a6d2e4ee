import { randomBytes } from 'node:crypto';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { SealedFrame } from '../blocks/intake.ts';
import { dataKeyName } from '../commit/data-key.ts';
import { HttpClient } from '../http/client.ts';
import { TmError } from '../model/errors.ts';
import { commit } from '../registry/fixtures.suite.ts';
import type { OpenedBackup } from '../registry/port.ts';
import { BlockReader } from '../restore/block-reader.ts';
import { placeAt } from '../restore/block-supplier.ts';
import { FaultyStore } from '../store/faulty-store.ts';
import { Pace } from '../store/pace.ts';
import { RemoteBlockSupplier } from './remote-block-supplier.ts';
import { RemoteIntake } from './remote-intake.ts';
import { AGENT, INSTANCE, IntakeRig, idsOf, READER } from './rig.suite.ts';
import { Writers } from './writers.ts';

const PACK_BYTES = 4096;

let rig: IntakeRig;
let opened: OpenedBackup;
const proxies: Server[] = [];

beforeAll(async () => {
  rig = await IntakeRig.make();
});
afterAll(() => rig.close());
afterEach(async () => {
  for (const proxy of proxies.splice(0)) {
    proxy.closeAllConnections();
    proxy.close();
  }
  await rig.stopServers();
});

async function intakeOver(writers: Writers, pace?: Pace): Promise<RemoteIntake> {
  opened = await rig.open();
  return new RemoteIntake({
    writers,
    backupId: opened.backup.id,
    wrappedKey: async (id) => ({ id, wrapped: rig.dataKey.wrapped }),
    packBytes: PACK_BYTES,
    pace,
  });
}

const isDone = (promise: Promise<unknown>): Promise<boolean> =>
  Promise.race([
    promise.then(() => true),
    new Promise<boolean>((resolve) => setImmediate(() => resolve(false))),
  ]);

/** Passes requests on; the one whose number is in `cut` is answered by closing the connection once its reply is there. */
async function proxyTo(port: number, cut: ReadonlySet<number>): Promise<HttpClient> {
  let count = 0;
  const server = createServer((incoming, reply) => {
    const isCut = cut.has(++count);
    const { method, url, headers } = incoming;
    const options = { host: '127.0.0.1', port, method: method!, path: url!, headers };
    const onwards = request(options, (answer) => {
      if (isCut) answer.resume().once('end', () => incoming.socket.destroy());
      else answer.pipe(reply.writeHead(answer.statusCode!, answer.headers));
    });
    incoming.pipe(onwards);
  });
  proxies.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return new HttpClient({ server: url, token: AGENT, instance: INSTANCE });
}

const WORLD = {
  now: () => performance.now(),
  sleep: () => new Promise((resolve) => setImmediate(resolve)),
  random: Math.random,
};

test('frames become packs of the size asked for; durable means that block rows are there, and frees the frames', async () => {
  const intake = await intakeOver(rig.writers([await rig.server(), await rig.server()]));
  const frames = Array.from({ length: 10 }, () => rig.frame(1000));
  const ids = idsOf(frames);
  expect([...(await intake.missing(ids))]).toEqual(Array(10).fill(1));
  const before = (await rig.packs()).length;
  const waits: Promise<void>[] = [];
  for (const frame of frames) {
    const { accepted, durable } = intake.put([frame]);
    await accepted;
    waits.push(durable.then(async () => expect(await rig.present([frame])).toEqual([1])));
  }
  expect(await isDone(Promise.all(waits))).toBe(false);
  await intake.flush();
  await Promise.all(waits);
  expect((await rig.packs()).length - before).toBe(4); // three frames each
  expect([...(await intake.missing(ids))]).toEqual(Array(10).fill(0));
  expect(frames.map(({ bytes }) => bytes.length)).toEqual(frames.map(() => 0));
  expect(await rig.store.read(dataKeyName(rig.dataKey.id))).toEqual(rig.dataKey.wrapped);
});

test('two packs on their way are the most; no more is accepted meanwhile', async () => {
  const store = new FaultyStore(rig.store);
  const gate = Promise.withResolvers<void>();
  store.inject('create', { kind: 'wait', until: () => gate.promise }, { prefix: 'packs/', times: 2 });
  const intake = await intakeOver(rig.writers([await rig.server({ store })]));
  let last: ReturnType<RemoteIntake['put']>;
  let count = 0;
  do {
    last = intake.put([rig.frame(1000)]);
    count++;
  } while ((await isDone(last.accepted)) && count < 50);
  expect(count).toBeLessThanOrEqual(7);
  gate.resolve();
  await last.accepted;
  await intake.flush();
  await last.durable;
});

test('a writer that is gone is passed over', async () => {
  const [first, second] = [await rig.server(), await rig.server()];
  const intake = await intakeOver(rig.writers([first, second]));
  await first.close();
  const frames = Array.from({ length: 8 }, () => rig.frame(1500));
  const { durable } = intake.put(frames);
  await intake.flush();
  await durable;
  expect(await rig.present(frames)).toEqual(Array(8).fill(1));
});

test('while all writers are gone it waits, and gives up with TM1805 after its deadline', async () => {
  const server = await rig.server();
  const intake = await intakeOver(rig.writers([server], { deadline: 200 }));
  await server.close();
  const { durable } = intake.put([rig.frame(100)]);
  await expect(intake.flush()).rejects.toMatchObject({ code: 'TM1805' });
  await expect(durable).rejects.toMatchObject({ code: 'TM1805' });
  expect(() => intake.put([rig.frame(100)])).toThrow(TmError);
});

test('a reply that is lost is followed by the same bytes, also to another writer, and there is one pack', async () => {
  const [first, second] = [await rig.server(), await rig.server()];
  // Key and frames go in turn, so that each proxy gets a first try whose reply is lost.
  const cut = new Set([1, 2]);
  const clients = [await proxyTo(first.port, cut), await proxyTo(second.port, cut)];
  const intake = await intakeOver(new Writers({ clients, world: WORLD, deadline: 20_000 }));
  const before = (await rig.packs()).length;
  const frame = rig.frame(1000);
  const { durable } = intake.put([frame]);
  await intake.flush();
  await durable;
  expect((await rig.packs()).length - before).toBe(1);
  expect(await rig.present([frame])).toEqual([1]);
  for (const client of clients) client.close();
});

test('writers that are busy are asked again until they have room', async () => {
  const store = new FaultyStore(rig.store);
  store.inject('create', { kind: 'fail', error: new TmError('TM1211') }, { prefix: 'packs/', times: 3 });
  const intake = await intakeOver(rig.writers([await rig.server({ store, budgetBytes: 5000 })]));
  const frames = Array.from({ length: 9 }, () => rig.frame(1200));
  const { durable } = intake.put(frames);
  await intake.flush();
  await durable;
  expect(await rig.present(frames)).toEqual(Array(9).fill(1));
});

test('an end of the backup is final: TM1502 for all that waits, and nothing more is taken', async () => {
  const intake = await intakeOver(rig.writers([await rig.server()]));
  await rig.registry.backups.fail(opened.backup.id, 'TM1512', []);
  const { durable } = intake.put([rig.frame(100)]);
  await expect(intake.flush()).rejects.toMatchObject({ code: 'TM1502' });
  await expect(durable).rejects.toMatchObject({ code: 'TM1502' });
  expect(() => intake.put([rig.frame(100)])).toThrow('ended by another process');
});

test('questions that are asked at the same time share requests; each gets its own answer', async () => {
  const server = await rig.server();
  let requests = 0;
  server.app.server.on('request', () => requests++);
  const intake = await intakeOver(rig.writers([server]));
  const known = [rig.frame(50)];
  intake.put(known);
  await intake.flush();
  requests = 0;
  const questions = Array.from({ length: 300 }, (_, n) =>
    Buffer.concat([randomBytes(32 * 5), ...(n % 2 ? [idsOf(known)] : [])]),
  );
  const answers = await Promise.all(questions.map((ids) => intake.missing(ids)));
  answers.forEach((answer, n) => {
    expect([...answer]).toEqual([1, 1, 1, 1, 1, ...(n % 2 ? [0] : [])]);
  });
  expect(requests).toBeLessThan(5);
  const large = await intake.missing(Buffer.concat([randomBytes(32 * 9999), idsOf(known)]));
  expect([large.length, large.at(-1), large[0]]).toEqual([10_000, 0, 1]);
});

test('blocks are read back through writers and opened with keys that never were there', async () => {
  const server = await rig.server();
  const intake = await intakeOver(rig.writers([server]));
  const blocks = [10, 5000, 3_000_000].map((length) => rig.block(randomBytes(length)));
  const frames: SealedFrame[] = blocks.map((block) => rig.seal(block));
  intake.put(frames);
  await intake.flush();
  await commit(rig.registry, opened);
  const supplier = new RemoteBlockSupplier({
    writers: rig.writers([server], { token: READER }),
    backupId: opened.backup.id,
    key: async () => rig.dataKey.key,
  });
  const reader = new BlockReader({ domainId: rig.domain.id, dedupKey: rig.domain.dedupKey }, supplier);
  for (const { id, bytes, length } of blocks)
    expect((await reader.read(id, length)).equals(bytes)).toBe(true);
  await expect(reader.read(randomBytes(32), 10)).rejects.toMatchObject({ code: 'TM1601' });
  const places = await supplier.locate(Buffer.concat([randomBytes(32 * 9999), blocks[0]!.id]));
  expect(places.length).toBe(48 * 10_000);
  expect(places.buffer.byteLength).toBe(places.length); // may be handed to another thread
});

/** 1,000 bytes a second by a clock that stands still; `waits` in milliseconds. */
function recordingPace(): { pace: Pace; waits: number[] } {
  const waits: number[] = [];
  const world = { now: () => 0, sleep: async (milliseconds: number) => void waits.push(milliseconds) };
  return { pace: new Pace(1000, world), waits };
}

test('with a limit packs wait for their time before they are sent, and ranges before they are given out', async () => {
  const server = await rig.server();
  const [up, down] = [recordingPace(), recordingPace()];
  const intake = await intakeOver(rig.writers([server]), up.pace);
  const frames = Array.from({ length: 4 }, () => rig.frame(1500));
  const sizes = frames.map(({ bytes }) => bytes.length);
  const ids = idsOf(frames);
  intake.put(frames);
  await intake.flush();
  expect(up.waits).toHaveLength(2);
  expect(up.waits[0]).toBeGreaterThan(sizes[0]! + sizes[1]!);
  expect(up.waits[1]).toBeGreaterThan(sizes.reduce((sum, size) => sum + size, 0)); // behind the first one's
  await commit(rig.registry, opened);
  const supplier = new RemoteBlockSupplier({
    writers: rig.writers([server], { token: READER }),
    backupId: opened.backup.id,
    key: async () => rig.dataKey.key,
    pace: down.pace,
  });
  const places = await supplier.locate(ids);
  const { pack, frameOffset, frameLength } = placeAt(places, 0)!;
  await supplier.read(pack, frameOffset, frameLength);
  expect(down.waits).toEqual([frameLength]);
});
