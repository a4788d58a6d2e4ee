import * as posix from '../posix/index.ts';
import type { BlockFetcher } from './block-fetcher.ts';
import { zeros } from './content.ts';
import type { LocalContent } from './local-content.ts';
import { groupPieces, type Piece } from './pieces.ts';
import type { StretchTask } from './protocol.ts';
import type { TaskReport } from './task-report.ts';
import { asBuffer } from './thread-messages.ts';
import { WantedBlocks } from './wanted-blocks.ts';

const NOWHERE = { dir: Buffer.alloc(0), name: Buffer.alloc(0) };

/** Compares or writes a stretch of a large file. A problem is reported without a path: the caller knows it. */
export async function runStretch(
  task: StretchTask,
  fetcher: BlockFetcher,
  content: LocalContent,
  report: TaskReport,
): Promise<void> {
  const pieces: Piece[] = task.pieces.map((piece) => ({
    ...piece,
    block: piece.block && { id: asBuffer(piece.block.id), length: piece.block.length },
  }));
  try {
    if (task.kind === 'compare')
      report.result.equal = content.matches(task.localFd, pieces, task.start, task.end);
    else await writeStretch(task, pieces, fetcher, content);
  } catch (error) {
    report.failed(NOWHERE, undefined, error);
  }
}

async function writeStretch(
  { fd, localFd }: StretchTask,
  pieces: readonly Piece[],
  fetcher: BlockFetcher,
  content: LocalContent,
): Promise<void> {
  const { blocks, zeros: zeroPieces } = groupPieces(pieces);
  const write = (bytes: Buffer, offset: number) =>
    posix.check(posix.pwriteFully(fd, bytes, 0, bytes.length, offset), 'pwrite');
  const wanted = new WantedBlocks();
  let failure: unknown;
  const sink = {
    deliver: (block: number, bytes: Buffer) => {
      for (const { offset, from, length } of blocks[block]!.pieces)
        write(bytes.subarray(from, from + length), offset);
    },
    fail: (error: unknown) => {
      failure ??= error;
    },
  };
  for (const [i, block] of blocks.entries()) {
    const local = localFd < 0 ? undefined : content.block(localFd, block);
    if (local) sink.deliver(i, local);
    else wanted.add(block.id, 0, block.length, sink, i);
  }
  for (const { offset, length } of zeroPieces) {
    let at = offset;
    for (const bytes of zeros(length)) {
      write(bytes, at);
      at += bytes.length;
    }
  }
  await fetcher.fetch(wanted);
  if (failure !== undefined) throw failure;
}
