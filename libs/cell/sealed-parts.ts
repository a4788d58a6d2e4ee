import type { OpenSealed } from '../rebuild/history.ts';
import { openSealedFrame, type RunSource } from '../rebuild/run-cursor.ts';

/** Opens the secret fields of records: a section of a journal object is a frame of JSON. */
export const sealedOpener =
  (source: RunSource): OpenSealed =>
  async <T>(sealed: Buffer) =>
    JSON.parse((await openSealedFrame(source, sealed)).toString()) as T;
