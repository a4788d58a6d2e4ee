import { z } from 'zod';
import type { BackupCounts } from '../model/backup.ts';
import type { RunPart, RunRef } from '../registry/port.ts';
import { JournalGap } from './journal-gap.ts';
import { hex, moment, openObject, whole } from './open-object.ts';

/** Index of a section of the same journal object that holds the record's secret fields, encrypted. */
const sealed = whole;
/** A source's uid, and a backup's number within it. */
const source = z.string().min(1);
const sourceSeq = whole.positive();
const epoch = openObject({ generation: whole, counter: whole });

const runPart: z.ZodType<RunPart> = z.discriminatedUnion('in', [
  openObject({ in: z.literal('pack'), pack: hex(32), frameOffset: whole, frameLength: whole.positive() }),
  openObject({ in: z.literal('journal'), writer: z.string(), number: whole.positive(), section: whole }),
]);
const runRef: z.ZodType<RunRef> = openObject({
  fromSeq: whole,
  toSeq: whole,
  records: whole,
  parts: z.array(runPart).readonly(),
});
const counts: z.ZodType<BackupCounts> = openObject({
  files: whole,
  directories: whole,
  others: whole,
  bytes: whole,
  added: whole,
  changed: whole,
  metadata: whole,
  deleted: whole,
  unchanged: whole,
  newBytes: whole,
  storedBytes: whole,
  problems: whole,
});

/** The store was made, or got a domain: all domains that it has from now on. */
const store = openObject({
  kind: z.literal('store'),
  storeId: z.uuid(),
  domains: z.array(z.string().min(1)).readonly(),
});
/** A registry claimed the store (see owner.ts). */
const owner = openObject({
  kind: z.literal('owner'),
  registryId: z.uuid(),
  generation: whole.positive(),
  takenIn: z.record(z.string(), whole),
  gaps: z.array(JournalGap).readonly().optional(),
  lostClaims: z.array(whole).readonly().optional(),
});
/** Sealed: the agent's name. */
const agent = openObject({ kind: z.literal('agent'), uid: z.string().min(1), domain: z.string(), sealed });
/** Sealed: root path, agent's name, key of entry hashes. Every full's commit repeats it, in case that the first is lost. */
const sourceRecord = openObject({ kind: z.literal('source'), uid: source, domain: z.string(), sealed });
/** A backup is complete. Sealed: tags and whatever else belongs to it and is secret. */
const commit = openObject({
  kind: z.literal('commit'),
  source,
  sourceSeq,
  epoch,
  backupId: z.string().min(1),
  backupKind: z.enum(['full', 'differential']),
  /** Its own seq for a full. */
  baselineSeq: sourceSeq,
  /** 0: the source's first backup. */
  baseSeq: whole,
  label: z.string().min(1).optional(),
  stateDigest: hex(32),
  baseDigest: hex(32),
  counts,
  openedAt: moment.optional(),
  readFrom: moment,
  readTo: moment,
  time: moment,
  /** Every run of the backup, those of earlier ones included, oldest first. */
  runs: z.array(runRef).readonly(),
  /** The commit before this one of the same source; 0: none. */
  predecessor: openObject({ sourceSeq: whole }),
  /** What the root looked like: numbers of the agent's, opaque here. */
  rootHint: z.string().optional(),
  sealed: sealed.optional(),
});
const expiry = openObject({
  kind: z.literal('expiry'),
  source,
  sourceSeqs: z.array(sourceSeq).readonly(),
  reason: z.string(),
  epoch: epoch.optional(),
});
/** A backup became the source's baseline. */
const promotion = openObject({ kind: z.literal('promotion'), source, sourceSeq, epoch: epoch.optional() });
const pin = openObject({ kind: z.literal('pin'), source, sourceSeq, pinned: z.boolean() });
/** Sealed: all tags that the backup has from now on. */
const tag = openObject({ kind: z.literal('tag'), source, sourceSeq, sealed });
/** A policy of the source, or of the whole store, replaced the one before. Sealed: the policy. */
const policy = openObject({ kind: z.literal('policy'), source: source.optional(), sealed });
/** A generation of a domain's keys, and the recipients that it is wrapped to from now on. */
const recipients = openObject({
  kind: z.literal('recipients'),
  domain: z.string().min(1),
  generation: whole.positive(),
  recipients: z.array(z.string().min(1)).readonly(),
});
/** Blocks that were found missing or altered: all of `packs`, and `blocks`. */
const damage = openObject({
  kind: z.literal('damage'),
  domain: z.string().min(1),
  packs: z.array(hex(32)).readonly(),
  blocks: z.array(hex(32)).readonly(),
});
/** Put under a number so that whoever was about to write it fails: its backups fail. */
const voidRecord = openObject({ kind: z.literal('void') });

const SCHEMAS = [
  store,
  owner,
  agent,
  sourceRecord,
  commit,
  expiry,
  promotion,
  pin,
  tag,
  policy,
  recipients,
  damage,
  voidRecord,
] as const;

/** A durable decision, as the journal's clear part holds it. Fields that this version does not know are kept. */
export const JournalRecord = z.discriminatedUnion('kind', SCHEMAS);
export type JournalRecord = z.infer<typeof JournalRecord>;
export type JournalRecordOf<K extends JournalRecord['kind']> = Extract<JournalRecord, { kind: K }>;

const KINDS: ReadonlySet<unknown> = new Set(SCHEMAS.map((schema) => schema.shape.kind.value));

/** False for a record that only a newer Tidemark can have written. */
export function isKnownKind(record: unknown): boolean {
  return typeof record === 'object' && record !== null && 'kind' in record && KINDS.has(record.kind);
}
