import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { blake3 } from '../../model/digests.ts';
import { EntryType } from '../../model/entry.ts';
import { TmError } from '../../model/errors.ts';
import type { ChangeBatch, CommitMessage, DeltaSegment, PieceHeader, Seal, Topic } from '../messages.ts';
import { BodyWriter } from './body-writer.ts';
import { decode, encode } from './codec.ts';
import { anyGroups, anyRecord, bodyOf, hintBytes, stateBytes } from './entries.suite.ts';
import type { WireHeaders } from './headers.ts';
import { isAuthentic, sign } from './mac.ts';
import { MessageChecker } from './message-checker.suite.ts';

const HEADER: PieceHeader = {
  backupId: '6c7ff84c-1e2e-4d3c-9a5e-0a6ed2a4b111',
  sourceId: 7,
  epoch: { generation: 3, counter: 12 },
  shard: 0,
  batchNo: 5,
  schema: 1,
};
const COUNTS = { added: 1, changed: 2, metadata: 3, deleted: 4, equal: 5, kept: 6 };
const SEAL: Seal = {
  type: 'seal',
  header: HEADER,
  batches: [6, 5],
  batchDigest: Buffer.alloc(32, 1),
  stateDigest: Buffer.alloc(32, 2),
  totals: {
    files: 1,
    directories: 2,
    others: 3,
    bytes: Number.MAX_SAFE_INTEGER,
    newBytes: 5,
    storedBytes: 6,
    problems: 7,
  },
  readFrom: 1_700_000_000_000,
  readTo: 1_700_000_000_001,
  rootHint: '{"inode":"12"}\u0000\ud800',
};
const COMMIT: CommitMessage = {
  specversion: '1.0',
  id: 'a6b7:12',
  source: 'tidemark/sources/a6b7',
  type: 'backup.committed',
  time: '2026-11-24T10:00:00.000Z',
  subject: HEADER.backupId,
  datacontenttype: 'application/json',
  data: { backupId: HEADER.backupId, seq: 3, label: '20261123T101500Z-F', eventNo: 12, baseline: null },
};

function batchOf(body: Buffer, count: number): ChangeBatch {
  return { type: 'batch', header: HEADER, count, body, digest: blake3(body) };
}

function segmentOf(body: Buffer, count: number): DeltaSegment {
  return {
    type: 'segment',
    header: { ...HEADER, shard: 1 },
    batchCount: count + 1,
    batchDigest: Buffer.alloc(32, 9),
    count,
    body,
    hashes: Buffer.concat(Array.from({ length: count }, (_, i) => Buffer.alloc(32, i % 3))),
    asBaseline: Buffer.from(Array.from({ length: count }, (_, i) => i % 2)),
    added: Buffer.alloc(32, 3),
    removed: Buffer.alloc(32, 4),
    counts: COUNTS,
  };
}

/** One of everything. */
function sample(): { body: Buffer; count: number } {
  return bodyOf(fc.sample(anyGroups, { seed: 5, numRuns: 20 }).flat());
}

test('batches and segments of any entries come out byte by byte as they went in', () => {
  fc.assert(
    fc.property(anyGroups, (groups) => {
      const { body, count } = bodyOf(groups);
      const batch = batchOf(body, count);
      const sent = encode(batch);
      expect(decode('change-events', sent.headers, sent.value)).toEqual(batch);
      const segment = segmentOf(body, count);
      const sentOn = encode(segment);
      expect(decode('delta-sets', sentOn.headers, sentOn.value)).toEqual(segment);
    }),
    { numRuns: 300 },
  );
});

test('seals and commit events come out as they went in', () => {
  for (const topic of ['change-events', 'delta-sets'] as const) {
    const sent = encode(SEAL);
    expect(decode(topic, sent.headers, sent.value)).toEqual(SEAL);
    expect(sent.value.includes('gaps'), 'who does not watch says nothing of gaps').toBe(false);
    for (const gaps of [[], ['agent-down', 'overflow']]) {
      const watched = encode({ ...SEAL, gaps });
      expect(decode(topic, watched.headers, watched.value)).toEqual({ ...SEAL, gaps });
    }
  }
  const sent = encode(COMMIT);
  expect(sent.key).toBe('a6b7');
  expect(decode('commits', sent.headers, sent.value)).toEqual(COMMIT);
});

/** Whatever the bytes are: a message, TM1505, or TM1514 of a newer schema version. */
function outcome(topic: Topic, headers: WireHeaders, value: Buffer): string {
  try {
    decode(topic, headers, value);
    return 'message';
  } catch (error) {
    return error instanceof TmError ? error.code : `other: ${String(error)}`;
  }
}

test('malformed messages of any kind are TM1505 and nothing else', () => {
  const { body, count } = sample();
  const messages = [
    ['change-events', encode(batchOf(body, count))],
    ['delta-sets', encode(segmentOf(body, count))],
    ['change-events', encode(SEAL)],
    ['commits', encode(COMMIT)],
  ] as const;
  for (const [topic, { headers, value }] of messages) {
    expect(outcome(topic, headers, value)).toBe('message');
    fc.assert(
      fc.property(fc.nat(value.length - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
        const broken = Buffer.from(value);
        broken[at] = broken[at]! ^ mask;
        expect(['message', 'TM1505']).toContain(outcome(topic, headers, broken));
        expect(outcome(topic, headers, value.subarray(0, at))).toBe('TM1505');
      }),
      { numRuns: 300 },
    );
  }
});

test('any JSON in place of any part of a message is TM1505 or the same part again', () => {
  const { body, count } = bodyOf(fc.sample(anyGroups, { seed: 9, numRuns: 6 }).flat());
  const paths: string[][] = [];
  const walk = (json: unknown, path: string[]): void => {
    paths.push(path);
    if (json && typeof json === 'object')
      for (const [name, part] of Object.entries(json)) walk(part, [...path, name]);
  };
  const { headers, value } = encode(segmentOf(body, count));
  walk(JSON.parse(value.toString()), []);
  const other = fc.oneof(
    fc.constantFrom<unknown>(-1, 1e300, 2 ** 53, '18446744073709551616', '-1', '', '.', {}, [], {
      base64: '',
    }),
    fc.constantFrom<unknown>('99999999999999999999', '../..', { base64: 'A' }, '__proto__', 'AAAA='),
    fc.jsonValue(),
  );
  fc.assert(
    fc.property(fc.constantFrom(...paths), other, (path, replacement) => {
      const holder = { value: JSON.parse(value.toString()) };
      const names = ['value', ...path];
      // biome-ignore lint/suspicious/noExplicitAny: any JSON
      const parent = names.slice(0, -1).reduce<any>((at, name) => at[name], holder);
      parent[names.at(-1)!] = replacement;
      const text = JSON.stringify(holder.value);
      expect(['message', 'TM1505']).toContain(outcome('delta-sets', headers, Buffer.from(text ?? '')));
    }),
    { numRuns: 2000 },
  );
});

test('records that are not what was digested are TM1505', () => {
  const { body, count } = sample();
  const { headers, value } = encode(batchOf(body, count));
  const json = JSON.parse(value.toString());
  const refused = (change: (copy: typeof json) => void) => {
    const copy = structuredClone(json);
    change(copy);
    expect(outcome('change-events', headers, Buffer.from(JSON.stringify(copy)))).toBe('TM1505');
  };
  refused((copy) => copy.groups.pop());
  refused((copy) => copy.groups.reverse());
  refused((copy) => copy.groups.push({ dir: 'x', entries: [] }));
  refused((copy) => copy.groups[0].entries.push({ op: 'gone', name: 'more' }));
  refused((copy) => {
    copy.count += 1;
  });
  refused((copy) => {
    copy.extra = 1;
  });
  refused((copy) => {
    copy.digest = Buffer.alloc(32).toString('base64');
  });
});

test('headers: what is missing, doubled or malformed is TM1505, a newer schema TM1514', () => {
  const { headers, value } = encode(SEAL);
  const given = (more: WireHeaders): string => outcome('change-events', { ...headers, ...more }, value);
  expect(given({})).toBe('message');
  for (const name of Object.keys(headers)) {
    expect(given({ [name]: undefined }), name).toBe('TM1505');
    expect(given({ [name]: [Buffer.from('1'), Buffer.from('1')] }), name).toBe('TM1505');
    expect(given({ [name]: Buffer.from([0xff]) }), name).toBe('TM1505');
  }
  expect(given({ schema: '2' })).toBe('TM1514');
  expect(given({ schema: '0' })).toBe('TM1505');
  expect(given({ type: 'segment' })).toBe('TM1505');
  expect(given({ shard: '1' })).toBe('TM1505');
  expect(given({ epoch: '3' })).toBe('TM1505');
  expect(outcome('commits', headers, value)).toBe('TM1505');
});

test('a message over 1 MiB is refused with TM1511', () => {
  const xattrs = Array.from({ length: 900 }, (_, i) => ({
    name: Buffer.from(`user.${i}`),
    value: Buffer.alloc(1024),
  }));
  const [record] = fc.sample(anyRecord, 1);
  const huge = { ...record!, op: 'present' as const, state: { ...record!.state, xattrs } };
  const { body, count } = bodyOf([{ dir: Buffer.alloc(0), records: [huge] }]);
  expect(() => encode(batchOf(body, count))).toThrow(expect.objectContaining({ code: 'TM1511' }));
});

test('a message of a segment is no larger than what its records were counted with', () => {
  fc.assert(
    fc.property(anyGroups, (groups) => {
      const writer = new BodyWriter();
      for (const { dir, records } of groups) {
        for (const { op, name, state, hints, code } of records) {
          if (op === 'present') writer.present(dir, name, stateBytes(state), hintBytes(hints));
          else if (op === 'gone') writer.gone(dir, name);
          else writer.kept(dir, name, code);
        }
      }
      const body = writer.finish();
      if (!body) return;
      const head = encode(segmentOf(Buffer.alloc(0), 0)).value.length;
      const segment = segmentOf(Buffer.from(body.bytes), body.count);
      const flagged = {
        ...segment,
        asBaseline: Buffer.alloc(body.count, 1),
        hashes: Buffer.alloc(body.count * 32, 1),
      };
      expect(encode(flagged).value.length - head).toBeLessThanOrEqual(body.size + 16);
    }),
    { numRuns: 300 },
  );
});

test('plain files fill a message with 900 records and more', () => {
  const file = {
    type: EntryType.file,
    mode: 0o644,
    size: 12_345,
    mtimeSec: 1_700_000_000n,
    digest: blake3(Buffer.from('d')),
    recipe: {
      depth: 0,
      items: [{ kind: 'block', id: blake3(Buffer.from('b')), length: 12_345 }],
      holes: { kind: 'inline', holes: [] },
    },
  } as const;
  const [any] = fc.sample(anyRecord, { seed: 1, numRuns: 1 });
  const plain = { uid: 1000, gid: 1000, user: 'ann', group: 'users', rdevMajor: 0, rdevMinor: 0, flags: 0 };
  const state = stateBytes({
    ...any!.state,
    ...plain,
    ...file,
    mtimeNsec: 5,
    linkGroup: 0n,
    target: Buffer.alloc(0),
    xattrs: [],
  });
  const hints = hintBytes({
    ctimeSec: 1_700_000_000n,
    ctimeNsec: 123_456_789,
    dev: 65_025n,
    ino: 1_234_567n,
    nlink: 1,
  });
  const writer = new BodyWriter();
  const dir = Buffer.from('usr\0share\0doc');
  let full: { count: number } | undefined;
  for (let i = 0; !full; i++) full = writer.present(dir, Buffer.from(`changelog.${i}.gz`), state, hints);
  expect(full.count).toBeGreaterThan(900);
});

test('golden bytes: the MAC is HMAC-SHA-256 over topic, headers and value, each behind its length', () => {
  const key = Buffer.alloc(32, 0xaa);
  const { headers, value } = encode(SEAL);
  const parts = ['change-events', HEADER.backupId, '7', '3.12', '0', '5', '1', 'seal', value];
  const text = Buffer.concat(
    parts.flatMap((part) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(part.length);
      return [length, Buffer.from(part as string)];
    }),
  );
  const mac = sign('change-events', headers, value, key);
  expect(mac).toBe(createHmac('sha256', key).update(text).digest('hex'));
  expect(mac).toBe('5a0cae086d828409a74eb6482dedcfefcd80b1e8b441fad0ecb12bdef8645904');
});

test('a MAC of another topic, header, value or key is none', () => {
  const key = Buffer.alloc(32, 1);
  const { headers, value } = encode(SEAL);
  const mac = sign('change-events', headers, value, key);
  const signed = { ...headers, mac };
  expect(isAuthentic('change-events', signed, value, key)).toBe(true);
  expect(isAuthentic('change-events', { ...signed, more: 'x' }, value, key)).toBe(true);
  expect(isAuthentic('delta-sets', signed, value, key)).toBe(false);
  expect(isAuthentic('change-events', signed, Buffer.from(`${value} `), key)).toBe(false);
  expect(isAuthentic('change-events', signed, value, Buffer.alloc(32, 2))).toBe(false);
  for (const name of Object.keys(headers))
    expect(isAuthentic('change-events', { ...signed, [name]: '9' }, value, key), name).toBe(false);
  for (const wrong of [undefined, '', mac.slice(2), `${mac}00`, 'zz'.repeat(32), [mac, mac]])
    expect(isAuthentic('change-events', { ...headers, mac: wrong }, value, key)).toBe(false);
});

test('messages of any entries keep to the published JSON Schemas, which refuse what is no message', () => {
  const checker = new MessageChecker();
  const check = (topic: Topic, message: ChangeBatch | DeltaSegment | Seal | CommitMessage): void => {
    const { headers, value } = encode(message);
    const mac = sign(topic, headers, value, Buffer.alloc(32));
    expect(checker.errors(topic, { ...headers, mac }, value)).toEqual([]);
    const more = Buffer.from(JSON.stringify({ ...JSON.parse(value.toString()), type: 'other' }));
    expect(checker.errors(topic, { ...headers, mac }, more)).not.toEqual([]);
  };
  fc.assert(
    fc.property(anyGroups, (groups) => {
      const { body, count } = bodyOf(groups);
      check('change-events', batchOf(body, count));
      check('delta-sets', segmentOf(body, count));
    }),
    { numRuns: 100 },
  );
  check('change-events', SEAL);
  check('commits', COMMIT);
  const { headers, value } = encode(SEAL);
  expect(checker.errors('change-events', headers, value)).not.toEqual([]);
});
