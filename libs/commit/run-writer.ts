import { decodeFrameBlocks } from '../blocks/frame-blocks.ts';
import { type BlockIntake, BlockKind, type SealedFrame } from '../blocks/intake.ts';
import { RecordWriter } from '../model/records.ts';
import type { Registry, RunBody, RunPart, RunRef } from '../registry/port.ts';

/** Plaintext of a run's frame, and what a run may measure to travel inside the journal object. */
const FRAME_BYTES = 768 * 1024;
const INLINE_BYTES = 192 * 1024;

/** Seals one block's plaintext as a frame of its own. */
export type SealBlock = (plain: Buffer, kind: BlockKind) => Promise<SealedFrame>;

/** A run that is written: where it lies, or the frame that is to become section 0 of the journal object. */
export interface WrittenRun {
  readonly fromSeq: number;
  readonly toSeq: number;
  readonly records: number;
  readonly inline: SealedFrame | undefined;
  readonly parts: readonly RunPart[];
}

interface Seqs {
  readonly from: number;
  readonly to: number;
}

/** Records of the seqs, and the problems of the last one after them, in the last body while there is room. */
async function* bodies(
  registry: Registry,
  sourceId: number,
  { from, to }: Seqs,
  hasProblems: boolean,
): AsyncGenerator<RunBody> {
  let last: RunBody = { body: Buffer.alloc(0), count: 0 };
  for await (const body of registry.entries.runRecords(sourceId, from, to, FRAME_BYTES)) {
    if (last.count > 0) yield last;
    last = body;
  }
  const writer = new RecordWriter();
  const problems = hasProblems ? await registry.backups.problems(sourceId, to) : [];
  for (const { dir, name, code } of problems) {
    if (last.body.length + writer.bytes >= FRAME_BYTES) {
      if (last.count > 0 || writer.count > 0) yield joined(last, writer);
      last = { body: Buffer.alloc(0), count: 0 };
    }
    writer.kept(dir, name, code);
  }
  if (last.count > 0 || writer.count > 0) yield joined(last, writer);
}

/** Bodies one behind the other are a body. */
function joined({ body, count }: RunBody, writer: RecordWriter): RunBody {
  const sum = count + writer.count;
  return { body: writer.count === 0 ? body : Buffer.concat([body, writer.finish()]), count: sum };
}

/**
 * Writes the run of a source's versions with from < seq <= to, and the problems of `to` after them, if it has any. A small
 * run is handed back to travel in the journal object; a larger one is made durable in packs.
 */
export async function writeRun(
  deps: { registry: Registry; intake: BlockIntake; seal: SealBlock; domain: string },
  sourceId: number,
  seqs: Seqs,
  hasProblems: boolean,
): Promise<WrittenRun> {
  const { from: fromSeq, to: toSeq } = seqs;
  const ids: Buffer[] = [];
  let sealing: Promise<SealedFrame> | undefined;
  let records = 0;
  for await (const { body, count } of bodies(deps.registry, sourceId, seqs, hasProblems)) {
    // One is sealed while the next is read.
    const last = await sealing;
    sealing = deps.seal(body, BlockKind.run);
    sealing.catch(() => {}); // it is thrown where it is waited for
    records += count;
    if (last) ids.push(await put(deps.intake, last));
  }
  const held = await sealing;
  if (!held) return { fromSeq, toSeq, records, inline: undefined, parts: [] };
  if (ids.length === 0 && held.plainLength <= INLINE_BYTES) {
    return { fromSeq, toSeq, records, inline: held, parts: [] };
  }
  ids.push(await put(deps.intake, held));
  await deps.intake.flush();
  const rows = await deps.registry.blocks.locate(deps.domain, ids);
  const parts = rows.map((row, i): RunPart => {
    if (!row) throw new Error(`run block ${ids[i]!.toString('hex')} is not in the registry`);
    return {
      in: 'pack',
      pack: row.pack.toString('hex'),
      frameOffset: row.frameOffset,
      frameLength: row.frameLength,
    };
  });
  return { fromSeq, toSeq, records, inline: undefined, parts };
}

/** Gives the id of the frame's one block. */
async function put(intake: BlockIntake, frame: SealedFrame): Promise<Buffer> {
  await intake.put([frame]).accepted;
  return decodeFrameBlocks(frame.index)[0]!.id;
}

export function runRef(run: WrittenRun, journal: { writer: string; number: number }): RunRef {
  const { fromSeq, toSeq, records } = run;
  const parts = run.inline ? [{ in: 'journal' as const, ...journal, section: 0 }] : run.parts;
  return { fromSeq, toSeq, records, parts };
}
