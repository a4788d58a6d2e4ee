import type { EntryState } from '../model/entry.ts';
import type { AttributeResult, EntryHandle } from './attributes.ts';
import type { WantedBlock } from './block-fetcher.ts';
import { zeros } from './content.ts';
import type { LocalContent } from './local-content.ts';
import { type BlockPieces, groupPieces, type Piece } from './pieces.ts';
import type { TargetFile } from './target-file.ts';

export interface FileJobOptions {
  readonly state: EntryState;
  readonly pieces: readonly Piece[];
  readonly open: () => TargetFile;
  readonly attributes: (handle: EntryHandle) => AttributeResult;
  readonly done: (result: AttributeResult) => void;
  /** May throw, where going on with other files makes no sense. */
  readonly failed: (error: unknown) => void;
}

/** One file on its way: opened at its first block, finished with its last one. */
export class FileJob {
  readonly #options: FileJobOptions;
  readonly #blocks: readonly BlockPieces[];
  readonly #zeros: readonly Piece[];
  #left: number;
  #file: TargetFile | undefined;
  #ended = false;

  constructor(options: FileJobOptions) {
    this.#options = options;
    const { blocks, zeros } = groupPieces(options.pieces);
    this.#blocks = blocks;
    this.#zeros = zeros;
    this.#left = blocks.length;
  }

  /** What has to be fetched. Blocks that the file `localFd` has in place are copied; no block left: it is done. */
  begin(local?: { readonly fd: number; readonly content: LocalContent }): WantedBlock[] {
    const wanted: WantedBlock[] = [];
    for (const block of this.#blocks) {
      const bytes = local && this.#blocks.length > 1 ? local.content.block(local.fd, block) : undefined;
      if (bytes) this.#deliver(block, bytes);
      else
        wanted.push({
          id: block.id,
          length: block.length,
          deliver: (got) => this.#deliver(block, got),
          fail: (error) => this.#fail(error),
        });
    }
    if (this.#blocks.length === 0) this.#attempt(() => this.#finish());
    return wanted;
  }

  /** Leaves nothing of an unfinished file. */
  abort(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#file?.abort();
    this.#file = undefined;
  }

  #deliver({ pieces }: BlockPieces, bytes: Buffer): void {
    if (this.#ended) return;
    this.#attempt(() => {
      this.#file ??= this.#options.open();
      for (const { offset, from, length } of pieces)
        this.#file.write(bytes.subarray(from, from + length), offset);
      if (--this.#left === 0) this.#finish();
    });
  }

  #finish(): void {
    const { state, open, attributes, done } = this.#options;
    const file = this.#file ?? open();
    this.#file = file;
    for (const { offset, length } of this.#zeros) {
      let at = offset;
      for (const bytes of zeros(length)) {
        file.write(bytes, at);
        at += bytes.length;
      }
    }
    this.#file = undefined; // from here on it cleans up after itself
    const result = file.finish(state, attributes);
    this.#ended = true;
    done(result);
  }

  #attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (this.#ended) return;
    this.abort();
    this.#options.failed(error);
  }
}
