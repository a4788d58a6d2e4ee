import { ByteWriter } from '../../model/byte-writer.ts';
import { type EntryRecord, RecordOp, RecordWriter, readRecords } from '../../model/records.ts';
import { bytesToJson, fromSlashes, type JsonPath, pathToJson } from '../../model/tree-path.ts';
import {
  base64,
  bytesFromJson,
  fromBase64,
  hintsFromJson,
  hintsToJson,
  stateFromJson,
  stateToJson,
} from './entry-json.ts';
import type { GroupJson, RecordJson } from './entry-schema.ts';

/** What a delta segment says of each of its records: 32 bytes and one byte each. */
export interface Found {
  readonly hashes: Buffer;
  readonly asBaseline: Buffer;
}

const HASH_BYTES = 32;
const NO_HASH = Buffer.alloc(HASH_BYTES);

function recordToJson(record: EntryRecord): RecordJson {
  const name = bytesToJson(record.name);
  if (record.op === RecordOp.gone) return { op: 'gone', name };
  if (record.op === RecordOp.kept) return { op: 'kept', name, code: record.code };
  return { op: 'present', name, state: stateToJson(record.state), hints: hintsToJson(record.hints) };
}

function addFound(json: RecordJson, { hashes, asBaseline }: Found, at: number): void {
  const hash = hashes.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES);
  if (!hash.equals(NO_HASH)) json.hash = base64(hash);
  if (asBaseline[at] === 1) json.asBaseline = true;
}

/** The groups of a body, as they stand in it. */
export function bodyToJson(body: Buffer, found?: Found): GroupJson[] {
  const groups: GroupJson[] = [];
  let dir: Buffer | undefined;
  let entries: RecordJson[] = [];
  let count = 0;
  for (const record of readRecords(body)) {
    if (record.dir !== dir) {
      dir = record.dir;
      entries = [];
      groups.push({ dir: pathToJson(dir), entries });
    }
    const json = recordToJson(record);
    if (found) addFound(json, found, count);
    entries.push(json);
    count++;
  }
  return groups;
}

const dirFromJson = (json: JsonPath): Buffer =>
  fromSlashes(typeof json === 'string' ? Buffer.from(json) : fromBase64(json.base64));

/** The body of which the groups were made, and its number of records. */
export function bodyFromJson(groups: readonly GroupJson[]): { body: Buffer; count: number } {
  const writer = new RecordWriter();
  const scratch = new ByteWriter(64 * 1024);
  for (const group of groups) {
    const dir = dirFromJson(group.dir);
    for (const json of group.entries) {
      const name = bytesFromJson(json.name);
      if (json.op === 'gone') writer.gone(dir, name);
      else if (json.op === 'kept') writer.kept(dir, name, json.code);
      else {
        const start = scratch.length;
        stateFromJson(json.state, scratch);
        const middle = scratch.length;
        hintsFromJson(json.hints, scratch);
        writer.present(dir, name, scratch.view(start, middle), scratch.view(middle));
      }
    }
    writer.endGroup();
  }
  const { count } = writer;
  return { count, body: writer.finish() };
}

export function foundFromJson(groups: readonly GroupJson[], count: number): Found {
  const hashes = Buffer.alloc(count * HASH_BYTES);
  const asBaseline = Buffer.alloc(count);
  let at = 0;
  for (const { entries } of groups) {
    for (const { hash, asBaseline: isAsBaseline } of entries) {
      if (hash !== undefined) fromBase64(hash).copy(hashes, at * HASH_BYTES);
      if (isAsBaseline) asBaseline[at] = 1;
      at++;
    }
  }
  return { hashes, asBaseline };
}
