import { openFrame, parseFrameHeader } from '../blocks/frame.ts';
import { TmError } from '../model/errors.ts';
import type { JournalObject } from '../store/journal.ts';
import type { Engine } from './engine.ts';
import { readingKeys } from './reading-keys.ts';

/** Plaintext of a section of a journal object; it is a frame. */
async function openSection(engine: Engine, object: JournalObject, section: number): Promise<Buffer> {
  const bytes = object.sections[section];
  if (!bytes) throw new TmError('TM1212', `${object.name} has no section ${section}`);
  const { ring, domainId } = await readingKeys(engine);
  return openFrame(bytes, domainId, await ring.get(parseFrameHeader(bytes).keyId));
}

/** The secret fields of a record. */
export async function openSealed<T>(engine: Engine, object: JournalObject, section: number): Promise<T> {
  return JSON.parse((await openSection(engine, object, section)).toString()) as T;
}
