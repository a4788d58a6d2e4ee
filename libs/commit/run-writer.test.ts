import { expect, test } from 'vitest';
import { encodeFrameBlocks } from '../blocks/frame-blocks.ts';
import type { BlockIntake } from '../blocks/intake.ts';
import { blake3 } from '../model/digests.ts';
import { RecordOp, RecordWriter, readRecords } from '../model/records.ts';
import type { Registry, RunBody } from '../registry/port.ts';
import { writeRun } from './run-writer.ts';

const EMPTY = Buffer.alloc(0);
const ROOT = EMPTY;
const FRAME_BYTES = 768 * 1024;

/** A body of one record that measures about so much. */
function bodyOf(name: string, bytes: number): RunBody {
  const writer = new RecordWriter();
  writer.present(ROOT, Buffer.from(name), Buffer.alloc(bytes, 7), Buffer.alloc(32));
  return { count: 1, body: writer.finish() };
}

/** The names in each frame of the run that is made of these bodies and problems. */
async function framesOf(bodies: readonly RunBody[], problems: readonly string[]): Promise<string[][]> {
  const frames: string[][] = [];
  const registry = {
    entries: {
      runRecords: async function* () {
        yield* bodies;
      },
    },
    backups: {
      problems: async () => problems.map((name) => ({ dir: ROOT, name: Buffer.from(name), code: 1110 })),
    },
    blocks: {
      locate: async (_: string, ids: readonly Buffer[]) =>
        ids.map((id) => ({ id, pack: id, frameOffset: 0, frameLength: 1 })),
    },
  } as unknown as Registry;
  const intake = {
    put: () => ({ accepted: Promise.resolve() }),
    flush: async () => {},
  } as unknown as BlockIntake;
  const seal = async (plain: Buffer) => {
    const records = [...readRecords(plain)];
    frames.push(records.map(({ op, name }) => `${op === RecordOp.kept ? 'kept ' : ''}${name}`));
    const block = { id: blake3(plain), length: plain.length, kind: 3 as const, children: EMPTY };
    const index = encodeFrameBlocks([block]);
    return { bytes: plain, checksum: EMPTY, plainLength: plain.length, keyId: EMPTY, index };
  };
  const run = await writeRun(
    { registry, intake, seal, domain: 'd' },
    1,
    { from: 0, to: 1 },
    problems.length > 0,
  );
  expect(run.records).toBe(frames.flat().length);
  expect(run.inline !== undefined).toBe(frames.length === 1 && run.inline!.plainLength <= 192 * 1024);
  expect(run.parts).toHaveLength(run.inline ? 0 : frames.length);
  return frames;
}

test('problems follow the records in the last frame, so that a small run stays one frame', async () => {
  expect(await framesOf([], [])).toEqual([]);
  expect(await framesOf([], ['p', 'q'])).toEqual([['kept p', 'kept q']]);
  expect(await framesOf([bodyOf('a', 10)], [])).toEqual([['a']]);
  expect(await framesOf([bodyOf('a', FRAME_BYTES), bodyOf('b', 10)], ['p'])).toEqual([
    ['a'],
    ['b', 'kept p'],
  ]);
});

test('problems that find no room have frames of their own', async () => {
  const many = Array.from({ length: 4000 }, (_, i) => `${'x'.repeat(200)}${i}`);
  const frames = await framesOf([bodyOf('a', FRAME_BYTES)], many);
  expect(frames).toHaveLength(3);
  expect(frames.flat()).toEqual(['a', ...many.map((name) => `kept ${name}`)]);
  for (const frame of frames.slice(1)) expect(frame.length).toBeLessThan((FRAME_BYTES + 400) / 200);
});
