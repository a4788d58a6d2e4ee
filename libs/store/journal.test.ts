import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { blake3 } from '../model/digests.ts';
import { FaultyStore, faults } from './faulty-store.ts';
import {
  type ChainHead,
  type JournalObject,
  type JournalRecord,
  JournalWriter,
  listWriters,
  readJournal,
  readJournalObject,
  verifyChain,
} from './journal.ts';
import { journalName } from './journal-name.ts';
import { NO_CHAIN } from './journal-object.ts';
import { MemoryStore } from './memory/memory-store.ts';
import type { CollectableStore, Store } from './port.ts';

const NOW = new Date('2026-11-23T10:15:00Z');
const code = (expected: string) => expect.objectContaining({ code: expected });
const pin = (sourceSeq: number): JournalRecord => ({ kind: 'pin', source: 's1', sourceSeq, pinned: true });

const writerOf = (store: Store, head?: ChainHead, writer = 'w1'): JournalWriter =>
  new JournalWriter(store, { writer, head, ownerGeneration: 1, now: () => NOW });

async function read(store: Store, from?: ChainHead): Promise<JournalObject[]> {
  const objects: JournalObject[] = [];
  for await (const object of readJournal(store, 'w1', from)) objects.push(object);
  return objects;
}

/** Puts other bytes in an object's place, as a disk or an intruder might. */
async function replace(store: CollectableStore, name: string, bytes: Buffer | undefined): Promise<void> {
  await store.delete(name);
  if (bytes) await store.create(name, [bytes]);
}

const COMMIT: JournalRecord = {
  kind: 'commit',
  source: 's1',
  sourceSeq: 2,
  epoch: { generation: 1, counter: 5 },
  backupId: '01a',
  backupKind: 'differential',
  baselineSeq: 1,
  baseSeq: 1,
  label: '20261123T101500Z-F_20261124T020000Z-D',
  stateDigest: 'ab'.repeat(32),
  baseDigest: 'cd'.repeat(32),
  counts: {
    files: 1,
    directories: 2,
    others: 3,
    bytes: 4,
    added: 5,
    changed: 6,
    metadata: 7,
    deleted: 8,
    unchanged: 9,
    newBytes: 10,
    storedBytes: 11,
    problems: 12,
  },
  openedAt: '2026-11-24T01:59:59.000Z',
  readFrom: '2026-11-24T02:00:00.000Z',
  readTo: '2026-11-24T02:00:01.000Z',
  time: '2026-11-24T02:00:02.000Z',
  runs: [
    {
      fromSeq: 0,
      toSeq: 1,
      records: 3,
      parts: [{ in: 'pack', pack: 'ef'.repeat(32), frameOffset: 0, frameLength: 100 }],
    },
    { fromSeq: 1, toSeq: 2, records: 1, parts: [{ in: 'journal', writer: 'w1', number: 1, section: 1 }] },
  ],
  predecessor: { sourceSeq: 1 },
  sealed: 0,
};

/** One record of each kind, all that name a section naming section 0. */
const ALL_KINDS: readonly JournalRecord[] = [
  { kind: 'store', storeId: '5f0c3c0e-6a44-4b8e-9a53-3b1b0a0d7c11', domains: ['d1'] },
  { kind: 'owner', registryId: '5f0c3c0e-6a44-4b8e-9a53-3b1b0a0d7c11', generation: 1, takenIn: { w1: 4 } },
  { kind: 'agent', uid: 'a1', domain: 'd1', sealed: 0 },
  { kind: 'source', uid: 's1', domain: 'd1', sealed: 0 },
  COMMIT,
  { kind: 'expiry', source: 's1', sourceSeqs: [1, 2], reason: 'keep-last' },
  { kind: 'promotion', source: 's1', sourceSeq: 2, epoch: { generation: 1, counter: 6 } },
  pin(1),
  { kind: 'tag', source: 's1', sourceSeq: 1, sealed: 0 },
  { kind: 'policy', source: 's1', sealed: 0 },
  { kind: 'recipients', domain: 'd1', generation: 1, recipients: ['age1x'] },
  { kind: 'damage', domain: 'd1', packs: ['00'.repeat(32)], blocks: ['11'.repeat(32)] },
  { kind: 'void' },
];
const SECTIONS = [Buffer.from('sealed'), Buffer.from('a small run')];

describe('journal', () => {
  let store: MemoryStore;
  beforeEach(() => {
    store = new MemoryStore();
  });

  it('has golden bytes', async () => {
    await writerOf(store).append([pin(3)], [Buffer.from('ab'), Buffer.alloc(0)]);
    const clear =
      `{"number":1,"ownerGeneration":1,"previous":"${'0'.repeat(64)}",` +
      '"records":[{"kind":"pin","pinned":true,"source":"s1","sourceSeq":3}],' +
      '"time":"2026-11-23T10:15:00.000Z","writer":"w1"}';
    const body = Buffer.concat([
      Buffer.from('544d4a524e4c0100e3000000', 'hex'),
      Buffer.from(clear),
      Buffer.from('02000000' + '020000006162' + '00000000' + '0000', 'hex'),
    ]);
    const bytes = await store.read('journal/w1/00000000/0000000000000001');
    expect(clear.length).toBe(0xe3);
    expect(bytes.subarray(0, -32)).toEqual(body);
    expect(bytes.subarray(-32)).toEqual(blake3(NO_CHAIN, body));
    expect(bytes.toString('hex').slice(-64)).toBe(
      'b69de701f67d9e92e2dd5c9018f1f6270caa329a8bb2b48566039da8d278b726',
    );
  });

  it('has golden bytes of every kind of record', async () => {
    const head = await writerOf(store).append(ALL_KINDS, SECTIONS);
    const bytes = await store.read('journal/w1/00000000/0000000000000001');
    const clearBytes = bytes.readUInt32LE(8);
    const clear = bytes.toString('utf8', 12, 12 + clearBytes);
    const records = clear.slice(clear.indexOf('"records":[') + 11, clear.indexOf('],"time":"2026-11-23'));
    expect(records.replaceAll('},{"', '},\n{"')).toMatchInlineSnapshot(`
      "{"domains":["d1"],"kind":"store","storeId":"5f0c3c0e-6a44-4b8e-9a53-3b1b0a0d7c11"},
      {"generation":1,"kind":"owner","registryId":"5f0c3c0e-6a44-4b8e-9a53-3b1b0a0d7c11","takenIn":{"w1":4}},
      {"domain":"d1","kind":"agent","sealed":0,"uid":"a1"},
      {"domain":"d1","kind":"source","sealed":0,"uid":"s1"},
      {"backupId":"01a","backupKind":"differential","baseDigest":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd","baseSeq":1,"baselineSeq":1,"counts":{"added":5,"bytes":4,"changed":6,"deleted":8,"directories":2,"files":1,"metadata":7,"newBytes":10,"others":3,"problems":12,"storedBytes":11,"unchanged":9},"epoch":{"counter":5,"generation":1},"kind":"commit","label":"20261123T101500Z-F_20261124T020000Z-D","openedAt":"2026-11-24T01:59:59.000Z","predecessor":{"sourceSeq":1},"readFrom":"2026-11-24T02:00:00.000Z","readTo":"2026-11-24T02:00:01.000Z","runs":[{"fromSeq":0,"parts":[{"frameLength":100,"frameOffset":0,"in":"pack","pack":"efefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefef"}],"records":3,"toSeq":1},
      {"fromSeq":1,"parts":[{"in":"journal","number":1,"section":1,"writer":"w1"}],"records":1,"toSeq":2}],"sealed":0,"source":"s1","sourceSeq":2,"stateDigest":"abababababababababababababababababababababababababababababababab","time":"2026-11-24T02:00:02.000Z"},
      {"kind":"expiry","reason":"keep-last","source":"s1","sourceSeqs":[1,2]},
      {"epoch":{"counter":6,"generation":1},"kind":"promotion","source":"s1","sourceSeq":2},
      {"kind":"pin","pinned":true,"source":"s1","sourceSeq":1},
      {"kind":"tag","sealed":0,"source":"s1","sourceSeq":1},
      {"kind":"policy","sealed":0,"source":"s1"},
      {"domain":"d1","generation":1,"kind":"recipients","recipients":["age1x"]},
      {"blocks":["1111111111111111111111111111111111111111111111111111111111111111"],"domain":"d1","kind":"damage","packs":["0000000000000000000000000000000000000000000000000000000000000000"]},
      {"kind":"void"}"
    `);
    expect(bytes.subarray(12 + clearBytes, -32).toString('hex')).toMatchInlineSnapshot(
      `"02000000060000007365616c65640b0000006120736d616c6c2072756e0000"`,
    );
    expect(head.chain.toString('hex')).toMatchInlineSnapshot(
      `"a6e6949dc87cd48676b75a13230a96788705f23c0697abcb85b8be7b7725d17f"`,
    );
    expect(bytes.subarray(-32)).toEqual(head.chain);
  });

  it('has golden bytes of the fields that came later, which an object may lack', async () => {
    const commit = Object.assign({}, COMMIT, {
      rootHint: '{"ino":"7","fsType":61267,"names":3}',
      gaps: ['agent-down', 'overflow'],
    });
    const owner: JournalRecord = {
      kind: 'owner',
      registryId: '5f0c3c0e-6a44-4b8e-9a53-3b1b0a0d7c11',
      generation: 3,
      takenIn: { w1: 4 },
      gaps: [{ writer: 'w1', after: 1, before: 3 }],
      lostClaims: [2],
    };
    await writerOf(store).append([owner, commit], SECTIONS);
    const clear = (await store.read('journal/w1/00000000/0000000000000001')).toString('latin1');
    expect(clear).toContain(
      '{"gaps":[{"after":1,"before":3,"writer":"w1"}],"generation":3,"kind":"owner","lostClaims":[2],"registryId":"5f0c3c0e-6a44-4b8e-9a53-3b1b0a0d7c11","takenIn":{"w1":4}}',
    );
    expect(clear).toContain(
      '"readTo":"2026-11-24T02:00:01.000Z","rootHint":"{\\"ino\\":\\"7\\",\\"fsType\\":61267,\\"names\\":3}","runs":',
    );
    expect(clear).toContain('"gaps":["agent-down","overflow"],"kind":"commit"');
    expect((await read(store))[0]?.records).toEqual([owner, commit]);
  });

  it('gives back every kind of record, the sections, and fields that only a later version knows', async () => {
    const writer = writerOf(store);
    const later: JournalRecord = Object.assign(pin(1), { colour: 'blue', nested: { a: [1, null] } });
    const head = await writer.append([...ALL_KINDS, later], SECTIONS);
    const object = await readJournalObject(store, 'w1', 1);
    expect(object).toEqual({
      name: journalName('w1', 1),
      writer: 'w1',
      number: 1,
      previous: NO_CHAIN,
      chain: head.chain,
      ownerGeneration: 1,
      time: NOW,
      records: [...ALL_KINDS, later],
      sections: SECTIONS,
    });
    expect(await read(store)).toEqual([object]);
  });

  it('says the next number before it is written', async () => {
    const writer = writerOf(store);
    expect(writer.next()).toBe(1);
    expect((await writer.append([pin(1)])).number).toBe(1);
    expect(writer.next()).toBe(2);
  });

  it('refuses what could not be read back', async () => {
    const writer = writerOf(store);
    const bad: [JournalRecord[], Buffer[]][] = [
      [[], []],
      [[{ kind: 'source', uid: 's1', domain: 'd1', sealed: 1 }], [Buffer.alloc(1)]],
      [[COMMIT], [Buffer.alloc(1)]],
      [[pin(1.5)], []],
      [[{ kind: 'surprise' } as unknown as JournalRecord], []],
      [[pin(1)], [Buffer.alloc(65 * 1024 * 1024)]],
    ];
    for (const [records, sections] of bad) {
      await expect(writer.append(records, sections)).rejects.toEqual(code('TM1099'));
    }
    for (const id of ['', '..', 'a/b', 'ä']) expect(() => journalName(id, 1)).toThrow();
    expect(await listWriters(store)).toEqual([]);
  });

  it('refuses two appends at the same time', async () => {
    const writer = writerOf(store);
    const first = writer.append([pin(1)]);
    await expect(writer.append([pin(2)])).rejects.toEqual(code('TM1099'));
    expect((await first).number).toBe(1);
    expect((await writer.append([pin(2)])).number).toBe(2);
  });

  it('lists its writers, also when their ids begin alike', async () => {
    const ids = ['a', 'a-b', 'a0', 'b'];
    for (const id of [...ids].reverse()) {
      const writer = writerOf(store, undefined, id);
      for (let i = 0; i < 3; i++) await writer.append([pin(1)]);
    }
    await store.create('journal/README', [Buffer.from('foreign')]);
    expect((await listWriters(store)).sort()).toEqual(ids);
  });

  it('goes over from one folder to the next', async () => {
    expect(journalName('w1', 4095)).toBe('journal/w1/00000000/0000000000000fff');
    const head = { number: 4095, chain: blake3(Buffer.from('head')) };
    const last = Buffer.concat([Buffer.alloc(60), head.chain]);
    await store.create(journalName('w1', 4095), [last]);
    await writerOf(store, head).append([pin(1)]);
    expect((await read(store, head)).map(({ name }) => name)).toEqual([
      'journal/w1/00000001/0000000000001000',
    ]);
  });

  describe('after a crash', () => {
    it('survives a registry that did not learn of an append: the tail holds it', async () => {
      const writer = writerOf(store);
      const known = await writer.append([pin(1)]);
      await writer.append([pin(2)]);
      await writer.append([pin(3)]);
      const tail = await read(store, known);
      expect(tail.map(({ number, records }) => [number, records])).toEqual([
        [2, [pin(2)]],
        [3, [pin(3)]],
      ]);
      expect(await read(store, tail.at(-1))).toEqual([]);
      await writerOf(store, tail.at(-1)).append([pin(4)]);
      expect(await verifyChain(store, 'w1')).toEqual([]);
    });

    it('survives a lost reply: the object is found, and its number is not used for another', async () => {
      const faulty = new FaultyStore(store).inject('create', faults.lostReply());
      const writer = writerOf(faulty);
      await expect(writer.append([pin(1)])).rejects.toEqual(code('TM1211'));
      await expect(writer.append([pin(2)])).rejects.toEqual(code('TM1210'));
      expect((await read(store)).map(({ records }) => records)).toEqual([[pin(1)]]);
    });

    it('fails a commit by a void that counts in the chain', async () => {
      const dead = writerOf(store);
      await dead.append([pin(1)]);
      const [known] = await read(store);
      const recovery = writerOf(store, known);
      expect(await recovery.putVoid(2)).toBe('void');
      expect(await recovery.putVoid(2)).toBe('void');
      await expect(dead.append([pin(2)])).rejects.toEqual(code('TM1210'));
      await recovery.append([pin(3)]);
      expect((await read(store)).map(({ records }) => records)).toEqual([
        [pin(1)],
        [{ kind: 'void' }],
        [pin(3)],
      ]);
    });

    it('survives a lost reply to a void, and a recovery that is repeated', async () => {
      const faulty = new FaultyStore(store).inject('create', faults.lostReply());
      await expect(writerOf(faulty).putVoid(1)).rejects.toEqual(code('TM1211'));
      const again = new JournalWriter(store, {
        writer: 'w1',
        head: undefined,
        ownerGeneration: 1,
        now: () => new Date(NOW.getTime() + 1),
      });
      expect(await again.putVoid(1)).toBe('void');
      expect(again.next()).toBe(2);
    });

    it('says exists where the commit came first', async () => {
      await writerOf(store).append([COMMIT], SECTIONS);
      const recovery = writerOf(store);
      expect(await recovery.putVoid(1)).toBe('exists');
      expect(recovery.next()).toBe(1);
      const caughtUp = writerOf(store, (await read(store)).at(-1));
      expect(await caughtUp.putVoid(1)).toBe('exists');
      await expect(caughtUp.putVoid(3)).rejects.toEqual(code('TM1099'));
    });
  });
});

describe('a damaged journal', () => {
  let store: MemoryStore;
  let heads: ChainHead[];
  beforeEach(async () => {
    store = new MemoryStore();
    heads = [];
    const writer = writerOf(store);
    for (let i = 1; i <= 4; i++) heads.push(await writer.append([pin(i)], [Buffer.from(`sealed ${i}`)]));
  });
  const name = (number: number): string => journalName('w1', number);

  it('is found by every flipped bit', async () => {
    const bytes = await store.read(name(2));
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const altered = Buffer.from(bytes);
      altered[bit >> 3]! ^= 1 << (bit & 7);
      await replace(store, name(2), altered);
      await expect(read(store, heads[0])).rejects.toEqual(code('TM1212'));
      await expect(readJournalObject(store, 'w1', 2)).rejects.toThrow(name(2));
    }
  });

  it('is found by every missing byte, and by added ones', async () => {
    const bytes = await store.read(name(2));
    for (let length = 0; length < bytes.length; length++) {
      await replace(store, name(2), bytes.subarray(0, length));
      await expect(read(store)).rejects.toEqual(code('TM1212'));
    }
    await replace(store, name(2), Buffer.concat([bytes, Buffer.alloc(1)]));
    await expect(read(store)).rejects.toThrow(name(2));
  });

  it('is found where an object is missing', async () => {
    for (const number of [1, 3]) {
      const bytes = await store.read(name(number));
      await replace(store, name(number), undefined);
      await expect(read(store)).rejects.toThrow(`${name(number)} is missing`);
      expect(await verifyChain(store, 'w1')).toEqual([
        {
          object: name(number),
          problem: 'is missing',
          gap: { writer: 'w1', after: number - 1, before: number + 1 },
        },
      ]);
      await store.create(name(number), [bytes]);
    }
    await replace(store, name(2), undefined);
    await replace(store, name(3), undefined);
    expect(await verifyChain(store, 'w1')).toEqual([
      {
        object: name(2),
        problem: 'is missing, and 1 after it',
        gap: { writer: 'w1', after: 1, before: 4 },
      },
    ]);
  });

  it('is found where its end was cut off, by what the registry has taken in', async () => {
    await replace(store, name(4), undefined);
    await expect(read(store, heads[3])).rejects.toThrow(`${name(4)} is missing`);
    expect(await verifyChain(store, 'w1', heads[3])).toEqual([
      { object: name(4), problem: 'is missing, but the registry has taken it in' },
    ]);
    expect(await verifyChain(store, 'w1', heads[2])).toEqual([]);
  });

  it('is found where a chain was replaced by another one that is whole', async () => {
    const other = new MemoryStore();
    const writer = writerOf(other);
    for (let i = 1; i <= 4; i++) await writer.append([pin(i + 100)]);
    await replace(store, name(3), await other.read(name(3)));
    await expect(read(store)).rejects.toThrow(`${name(3)} does not follow`);
    expect(await verifyChain(store, 'w1')).toEqual([
      {
        object: name(3),
        problem: 'does not follow the object before it',
        gap: { writer: 'w1', after: 2, before: 3 },
      },
      {
        object: name(4),
        problem: 'does not follow the object before it',
        gap: { writer: 'w1', after: 3, before: 4 },
      },
    ]);
    await expect(read(other, heads[1])).rejects.toThrow('is not the object that the registry has taken in');
  });

  it('is found where an object lies under the number or writer of another', async () => {
    const bytes = await store.read(name(1));
    await store.create(journalName('w2', 1), [bytes]);
    await expect(readJournalObject(store, 'w2', 1)).rejects.toThrow('was written as w1/1');
    await replace(store, name(2), bytes);
    await expect(read(store)).rejects.toEqual(code('TM1212'));
  });

  it('has all its findings said, with foreign names', async () => {
    await replace(store, name(1), Buffer.from('nonsense'));
    await replace(store, name(3), (await store.read(name(3))).subarray(0, -1));
    await store.create('journal/w1/00000000/note', [Buffer.from('foreign')]);
    await store.create('journal/w1/00000001/0000000000000005', [Buffer.from('in the wrong folder')]);
    const findings = await verifyChain(store, 'w1', heads[3]);
    expect(findings.map(({ object }) => object)).toEqual([
      name(1),
      name(3),
      'journal/w1/00000000/note',
      'journal/w1/00000001/0000000000000005',
    ]);
    expect(await verifyChain(store, 'nobody')).toEqual([]);
  });

  it('is not confused with a store that fails', async () => {
    const faulty = new FaultyStore(store).inject('read', faults.unreachable(), { nth: 2, times: 2 });
    await expect(verifyChain(faulty, 'w1')).rejects.toEqual(code('TM1201'));
    await expect(read(faulty)).rejects.toEqual(code('TM1201'));
  });

  it('is told from one that a newer Tidemark wrote', async () => {
    const newer = Buffer.from(await store.read(name(4)));
    newer.writeUInt16LE(2, 6);
    await replace(store, name(4), newer);
    await expect(read(store)).rejects.toEqual(code('TM1212'));
    blake3(heads[2]!.chain, newer.subarray(0, -32)).copy(newer, newer.length - 32);
    await replace(store, name(4), newer);
    await expect(read(store)).rejects.toEqual(code('TM1209'));
  });

  it('is told from one that holds a kind of record unknown here', async () => {
    const object = await store.read(name(4));
    const altered = Buffer.from(object.toString('latin1').replace('"kind":"pin"', '"kind":"nip"'), 'latin1');
    blake3(heads[2]!.chain, altered.subarray(0, -32)).copy(altered, altered.length - 32);
    await replace(store, name(4), altered);
    await expect(read(store)).rejects.toEqual(code('TM1209'));
  });
});

describe('any chain', () => {
  const append = fc.record({
    seqs: fc.array(fc.integer({ min: 1, max: 2 ** 53 - 1 }), { minLength: 1, maxLength: 4 }),
    sections: fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 3 }),
    /** The process ends after it, and a new one goes on from the store. */
    restart: fc.boolean(),
    isVoid: fc.boolean(),
  });

  it('reads back as it was written, from every head, and no altered byte stays unseen', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(append, { minLength: 1, maxLength: 8 }),
        fc.nat(),
        fc.nat(),
        async (appends, at, by) => {
          const store = new MemoryStore();
          const written = await writeAll(store, appends);
          const objects = await read(store);
          expect(objects.map(({ records }) => records)).toEqual(written);
          expect(await verifyChain(store, 'w1', objects.at(-1))).toEqual([]);
          for (const [i, head] of objects.entries())
            expect(await read(store, head)).toEqual(objects.slice(i + 1));

          const hit = objects[at % objects.length]!;
          const bytes = await store.read(hit.name);
          bytes[by % bytes.length]! ^= 1 + (by % 255);
          await replace(store, hit.name, bytes);
          await expect(read(store)).rejects.toEqual(code('TM1212'));
          expect((await verifyChain(store, 'w1'))[0]?.object).toBe(hit.name);
        },
      ),
      { numRuns: 100 },
    );
  });

  async function writeAll(
    store: Store,
    appends: readonly { seqs: number[]; sections: Uint8Array[]; restart: boolean; isVoid: boolean }[],
  ): Promise<JournalRecord[][]> {
    const written: JournalRecord[][] = [];
    let writer = writerOf(store);
    for (const { seqs, sections, restart, isVoid } of appends) {
      const records = isVoid ? [{ kind: 'void' } as const] : seqs.map(pin);
      if (isVoid) await writer.putVoid(writer.next());
      else
        await writer.append(
          records,
          sections.map((section) => Buffer.from(section)),
        );
      written.push(records);
      if (restart) writer = writerOf(store, (await read(store)).at(-1));
    }
    return written;
  }
});
