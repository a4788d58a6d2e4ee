import { RecordWriter } from '../../model/records.ts';
import type { TreePath } from '../../model/tree-path.ts';
import { MAX_BODY_BYTES, MAX_RECORDS, WANTED_BODY_SIZE } from './limits.ts';
import { absentSize, groupSize, presentSize } from './record-size.ts';

/** Records for one message, in their binary form. */
export interface Body {
  readonly bytes: Uint8Array;
  readonly count: number;
  /** Bytes of JSON that they make at most. */
  readonly size: number;
}

/** Whether so much fits one message. */
export const fitsMessage = (count: number, bytes: number, size: number): boolean =>
  count <= MAX_RECORDS && bytes <= MAX_BODY_BYTES && size <= WANTED_BODY_SIZE;

/** Bytes of a record in its binary form, without paths and state, at most. */
const FRAME_BYTES = 64;

/**
 * Writes records into bodies that fit a message each; a record too large for that has a body of its own. Whatever adds
 * a record gives the body that it no longer fitted, if there is one.
 */
export class BodyWriter {
  readonly #writer = new RecordWriter();
  #dir: TreePath | undefined;
  #size = 0;

  present(dir: TreePath, name: Buffer, state: Buffer, hints: Buffer): Body | undefined {
    const full = this.#begin(dir, presentSize(name, state, hints), name.length + state.length);
    this.#writer.present(dir, name, state, hints);
    return full;
  }

  gone(dir: TreePath, name: Buffer): Body | undefined {
    const full = this.#begin(dir, absentSize(name), name.length);
    this.#writer.gone(dir, name);
    return full;
  }

  kept(dir: TreePath, name: Buffer, code: number): Body | undefined {
    const full = this.#begin(dir, absentSize(name), name.length);
    this.#writer.kept(dir, name, code);
    return full;
  }

  #begin(dir: TreePath, size: number, bytes: number): Body | undefined {
    const sizeInGroup = dir === this.#dir ? size : size + groupSize(dir);
    const { count, bytes: written } = this.#writer;
    const fits = fitsMessage(count + 1, written + dir.length + bytes + FRAME_BYTES, this.#size + sizeInGroup);
    const full = fits ? undefined : this.finish();
    this.#size += full ? size + groupSize(dir) : sizeInGroup;
    this.#dir = dir;
    return full;
  }

  /** What is left; the writer is empty afterwards. */
  finish(): Body | undefined {
    const { count } = this.#writer;
    if (count === 0) return undefined;
    const body = { bytes: this.#writer.finish(), count, size: this.#size };
    this.#size = 0;
    this.#dir = undefined;
    return body;
  }
}
