import { decodeFrameBlocks } from '../blocks/frame-blocks.ts';
import { type BlockIntake, BlockKind, type SealedFrame } from '../blocks/intake.ts';
import { RecordWriter } from '../model/records.ts';
import type { Registry, RunPart, RunRef } from '../registry/port.ts';

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

async function* bodies(
  registry: Registry,
  sourceId: number,
  fromSeq: number,
  toSeq: number,
): AsyncGenerator<{ body: Buffer; count: number }> {
  const writer = new RecordWriter();
  const take = () => ({ count: writer.count, body: writer.finish() });
  for await (const page of registry.entries.versions(sourceId, fromSeq, toSeq)) {
    for (const version of page) {
      writer.record({ ...version, code: 0 });
      if (writer.bytes >= FRAME_BYTES) yield take();
    }
  }
  for (const problem of await registry.backups.problems(sourceId, toSeq)) {
    writer.kept(problem.dir, problem.name, problem.code);
    if (writer.bytes >= FRAME_BYTES) yield take();
  }
  if (writer.count > 0) yield take();
}

/**
 * Writes the run of a source's versions with fromSeq < seq <= toSeq, and the problems of toSeq after them. A small run
 * is handed back to travel in the journal object; a larger one is made durable in packs.
 */
export async function writeRun(
  deps: { registry: Registry; intake: BlockIntake; seal: SealBlock; domain: string },
  sourceId: number,
  fromSeq: number,
  toSeq: number,
): Promise<WrittenRun> {
  const ids: Buffer[] = [];
  let held: SealedFrame | undefined;
  let records = 0;
  for await (const { body, count } of bodies(deps.registry, sourceId, fromSeq, toSeq)) {
    if (held) await deps.intake.put([held]).accepted;
    records += count;
    held = await deps.seal(body, BlockKind.run);
    ids.push(decodeFrameBlocks(held.index)[0]!.id);
  }
  if (!held) return { fromSeq, toSeq, records, inline: undefined, parts: [] };
  if (ids.length === 1 && held.plainLength <= INLINE_BYTES) {
    return { fromSeq, toSeq, records, inline: held, parts: [] };
  }
  await deps.intake.put([held]).accepted;
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

export function runRef(run: WrittenRun, journal: { writer: string; number: number }): RunRef {
  const { fromSeq, toSeq, records } = run;
  const parts = run.inline ? [{ in: 'journal' as const, ...journal, section: 0 }] : run.parts;
  return { fromSeq, toSeq, records, parts };
}
