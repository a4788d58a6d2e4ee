import { z } from 'zod';
import { ByteReader } from '../model/byte-reader.ts';
import { ByteWriter } from '../model/byte-writer.ts';
import { blake3 } from '../model/digests.ts';
import { TmError } from '../model/errors.ts';
import { canonicalJson } from './canonical-json.ts';
import { journalName } from './journal-name.ts';
import { isKnownKind, type JournalRecord, kindsIn, recordSchema } from './journal-records.ts';
import { hex, moment, openObject, whole } from './open-object.ts';
import { fieldProblems } from './stored-json.ts';

/** Bytes of a chain digest. */
export const CHAIN_BYTES = 32;
/** What the first object of a chain names as previous. */
export const NO_CHAIN: Buffer = Buffer.alloc(CHAIN_BYTES);

const MAGIC = Buffer.from('TMJRNL');
const VERSION = 1;
/** Magic and version. */
const HEADER_BYTES = 8;
const MAX_CLEAR_BYTES = 16 * 1024 * 1024;
const MAX_SECTIONS = 65_536;
const MAX_OBJECT_BYTES = 64 * 1024 * 1024;

const clearOf = (kinds: Parameters<typeof recordSchema>[0]) =>
  openObject({
    writer: z.string(),
    number: whole.positive(),
    previous: hex(CHAIN_BYTES),
    ownerGeneration: whole.positive(),
    time: moment,
    records: z.array(recordSchema(kinds)).min(1),
  });
type ClearSchema = ReturnType<typeof clearOf>;
const clearSchemas = new Map<string, ClearSchema>();

/** The clear part's schema, for the kinds of record that occur in `clear`. */
function schemaFor(clear: unknown): ClearSchema {
  const kinds = kindsIn((clear as { records?: unknown } | null)?.records);
  const schema = clearSchemas.get(String(kinds)) ?? clearOf(kinds);
  clearSchemas.set(String(kinds), schema);
  return schema;
}

/** The newest object of a writer's chain that somebody knows. */
export interface ChainHead {
  readonly number: number;
  readonly chain: Buffer;
}

/** What is in the clear of a journal object, `previous` (chain digest of the one before) aside. */
export interface JournalContent {
  readonly writer: string;
  readonly number: number;
  /** Generation of the registry that wrote it (owner.ts). */
  readonly ownerGeneration: number;
  readonly time: Date;
  readonly records: readonly JournalRecord[];
  /** Encrypted by whoever gave them; opaque here. */
  readonly sections: readonly Buffer[];
}

/** A journal object that was read and found whole. Its sections are views of one buffer. */
export interface JournalObject extends JournalContent {
  readonly name: string;
  readonly previous: Buffer;
  /** BLAKE3 of `previous` and of all bytes of the object before this digest. */
  readonly chain: Buffer;
}

/** The object's bytes in parts, the sections uncopied. Throws TM1099 for what the format can't hold. */
export function encodeJournalObject(
  content: JournalContent,
  previous: Buffer,
): { readonly parts: readonly Buffer[]; readonly chain: Buffer } {
  const { time, sections, ...fields } = content;
  const clear = { ...fields, previous: previous.toString('hex'), time: time.toISOString() };
  const name = journalName(content.writer, content.number);
  const problem = clearProblem(clear) ?? sectionProblem(content.records, content);
  if (problem !== undefined) throw new TmError('TM1099', `${name}: ${problem}`);
  const json = Buffer.from(canonicalJson(clear));
  const parts = [
    header(json, sections.length),
    ...sections.flatMap((section) => [u32(section.length), section]),
  ];
  parts.push(NO_SIGNATURE);
  const size = parts.reduce((sum, part) => sum + part.length, CHAIN_BYTES);
  if (size > MAX_OBJECT_BYTES || json.length > MAX_CLEAR_BYTES || sections.length > MAX_SECTIONS) {
    throw new TmError('TM1099', `${name}: ${size} bytes are too many for a journal object`);
  }
  const chain = blake3(previous, ...parts);
  return { parts: [...parts, chain], chain };
}

/** Length of the writer's signature: none in version 1. */
const NO_SIGNATURE = Buffer.alloc(2);

function header(json: Buffer, sections: number): Buffer {
  const out = new ByteWriter(json.length + 16);
  out.bytes(MAGIC);
  out.u16(VERSION);
  out.u32(json.length);
  out.bytes(json);
  out.u32(sections);
  return out.finish();
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function clearProblem(clear: unknown): string | undefined {
  const result = schemaFor(clear).safeParse(clear);
  return result.success ? undefined : fieldProblems(result.error);
}

/** A record must not name a section that the object lacks. */
function sectionProblem(
  records: readonly JournalRecord[],
  { writer, number, sections }: JournalContent,
): string | undefined {
  for (const record of records) {
    const named = 'sealed' in record && record.sealed !== undefined ? [record.sealed] : [];
    const runs = record.kind === 'commit' ? record.runs : [];
    for (const part of runs.flatMap((run) => run.parts)) {
      if (part.in === 'journal' && part.writer === writer && part.number === number) named.push(part.section);
    }
    const missing = named.find((section) => section >= sections.length);
    if (missing !== undefined)
      return `a ${record.kind} record names section ${missing} of ${sections.length}`;
  }
  return undefined;
}

/** What an object is expected to be: its place, and the chain digest before it where that is known. */
export interface JournalExpectation {
  readonly writer: string;
  readonly number: number;
  readonly previous: Buffer | undefined;
}

/** Throws TM1212 (altered, or not the link of the chain that was expected) or TM1209 (of a newer format). */
export function decodeJournalObject(bytes: Buffer, expected: JournalExpectation): JournalObject {
  const name = journalName(expected.writer, expected.number);
  const broken = (why: string, cause?: unknown): TmError =>
    new TmError('TM1212', `${name} ${why}`, { cause });
  if (bytes.length < HEADER_BYTES + CHAIN_BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw broken('is no journal object');
  }
  const body = bytes.subarray(0, -CHAIN_BYTES);
  const chain = Buffer.from(bytes.subarray(-CHAIN_BYTES));
  const isWhole = (previous: Buffer): boolean => blake3(previous, body).equals(chain);
  const version = bytes.readUInt16LE(MAGIC.length);
  if (version > VERSION) {
    if (expected.previous && !isWhole(expected.previous)) throw broken('is altered');
    throw new TmError('TM1209', `${name} has format ${version}, this program knows ${VERSION}`);
  }
  if (version !== VERSION) throw broken('is altered');
  const { clear, sections } = parseBody(body, broken);
  const previous = statedPrevious(clear);
  if (previous === undefined || !isWhole(previous)) throw broken('is altered');
  if (expected.previous && !previous.equals(expected.previous))
    throw broken('does not follow the object before it');
  const { writer, number, ownerGeneration, time, records } = checkClear(name, clear, broken);
  if (writer !== expected.writer || number !== expected.number)
    throw broken(`was written as ${writer}/${number}`);
  const content = { writer, number, ownerGeneration, time: new Date(time), records, sections };
  const problem = sectionProblem(records, content);
  if (problem !== undefined) throw broken(problem);
  return { ...content, name, previous, chain };
}

type Broken = (why: string, cause?: unknown) => TmError;

/** Frames of the body; every length is checked against what is there. */
function parseBody(body: Buffer, broken: Broken): { clear: unknown; sections: Buffer[] } {
  try {
    const input = new ByteReader(body, HEADER_BYTES);
    const clear: unknown = JSON.parse(input.bytes(input.u32()).toString('utf8'));
    const count = input.u32();
    const sections: Buffer[] = [];
    for (let i = 0; i < count; i++) sections.push(input.bytes(input.u32()));
    input.skip(input.u16());
    input.end();
    return { clear, sections };
  } catch (cause) {
    throw broken('is altered', cause);
  }
}

function statedPrevious(clear: unknown): Buffer | undefined {
  const result = openObject({ previous: hex(CHAIN_BYTES) }).safeParse(clear);
  return result.success ? Buffer.from(result.data.previous, 'hex') : undefined;
}

function checkClear(name: string, clear: unknown, broken: Broken): z.infer<ClearSchema> {
  const result = schemaFor(clear).safeParse(clear);
  if (result.success) return result.data;
  const { data } = openObject({ records: z.array(z.unknown()) }).safeParse(clear);
  if (data && !data.records.every(isKnownKind))
    throw new TmError('TM1209', `${name} holds a kind of record unknown here`);
  throw broken(`does not fit its format: ${fieldProblems(result.error)}`);
}
