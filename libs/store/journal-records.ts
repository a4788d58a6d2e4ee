import { z } from 'zod';
import type { BackupCounts } from '../model/backup.ts';
import type { RunPart, RunRef } from '../registry/port.ts';
import { JournalGap } from './journal-gap.ts';
import { hex, moment, once, openObject, whole } from './open-object.ts';

/** Index of a section of the same journal object that holds the record's secret fields, encrypted. */
const sealed = whole;
/** A source's uid, and a backup's number within it. */
const source = z.string().min(1);
const sourceSeq = whole.positive();
const epoch = once(() => openObject({ generation: whole, counter: whole }));

const runPart = once(
  (): z.ZodType<RunPart> =>
    z.discriminatedUnion('in', [
      openObject({ in: z.literal('pack'), pack: hex(32), frameOffset: whole, frameLength: whole.positive() }),
      openObject({ in: z.literal('journal'), writer: z.string(), number: whole.positive(), section: whole }),
    ]),
);
const runRef = once(
  (): z.ZodType<RunRef> =>
    openObject({
      fromSeq: whole,
      toSeq: whole,
      records: whole,
      parts: z.array(runPart()).readonly(),
    }),
);
const counts = once(
  (): z.ZodType<BackupCounts> =>
    openObject({
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
    }),
);

/** The store was made, or got a domain: all domains that it has from now on. */
const store = once(() =>
  openObject({
    kind: z.literal('store'),
    storeId: z.uuid(),
    domains: z.array(z.string().min(1)).readonly(),
  }),
);
/** A registry claimed the store (see owner.ts). */
const owner = once(() =>
  openObject({
    kind: z.literal('owner'),
    registryId: z.uuid(),
    generation: whole.positive(),
    takenIn: z.record(z.string(), whole),
    gaps: z.array(JournalGap()).readonly().optional(),
    lostClaims: z.array(whole).readonly().optional(),
  }),
);
/** Sealed: the agent's name. */
const agent = once(() =>
  openObject({ kind: z.literal('agent'), uid: z.string().min(1), domain: z.string(), sealed }),
);
/** Sealed: root path, agent's name, key of entry hashes. Every full's commit repeats it, in case that the first is lost. */
const sourceRecord = once(() =>
  openObject({ kind: z.literal('source'), uid: source, domain: z.string(), sealed }),
);
/** A backup is complete. Sealed: tags and whatever else belongs to it and is secret. */
const commit = once(() =>
  openObject({
    kind: z.literal('commit'),
    source,
    sourceSeq,
    epoch: epoch(),
    backupId: z.string().min(1),
    backupKind: z.enum(['full', 'differential']),
    /** Its own seq for a full. */
    baselineSeq: sourceSeq,
    /** 0: the source's first backup. */
    baseSeq: whole,
    label: z.string().min(1).optional(),
    stateDigest: hex(32),
    baseDigest: hex(32),
    counts: counts(),
    openedAt: moment.optional(),
    readFrom: moment,
    readTo: moment,
    time: moment,
    /** Every run of the backup, those of earlier ones included, oldest first. */
    runs: z.array(runRef()).readonly(),
    /** The commit before this one of the same source; 0: none. */
    predecessor: openObject({ sourceSeq: whole }),
    /** What the root looked like: numbers of the agent's, opaque here. */
    rootHint: z.string().optional(),
    /** Reasons of the gaps that were open when it was; absent where nobody watched. */
    gaps: z.array(z.string()).readonly().optional(),
    sealed: sealed.optional(),
  }),
);
const expiry = once(() =>
  openObject({
    kind: z.literal('expiry'),
    source,
    sourceSeqs: z.array(sourceSeq).readonly(),
    reason: z.string(),
    epoch: epoch().optional(),
  }),
);
/** A backup became the source's baseline. */
const promotion = once(() =>
  openObject({ kind: z.literal('promotion'), source, sourceSeq, epoch: epoch().optional() }),
);
const pin = once(() => openObject({ kind: z.literal('pin'), source, sourceSeq, pinned: z.boolean() }));
/** Sealed: all tags that the backup has from now on. */
const tag = once(() => openObject({ kind: z.literal('tag'), source, sourceSeq, sealed }));
/** A policy of the source, or of the whole store, replaced the one before. Sealed: the policy. */
const policy = once(() => openObject({ kind: z.literal('policy'), source: source.optional(), sealed }));
/** A generation of a domain's keys, and the recipients that it is wrapped to from now on. */
const recipients = once(() =>
  openObject({
    kind: z.literal('recipients'),
    domain: z.string().min(1),
    generation: whole.positive(),
    recipients: z.array(z.string().min(1)).readonly(),
  }),
);
/** Blocks that were found missing or altered: all of `packs`, and `blocks`. */
const damage = once(() =>
  openObject({
    kind: z.literal('damage'),
    domain: z.string().min(1),
    packs: z.array(hex(32)).readonly(),
    blocks: z.array(hex(32)).readonly(),
  }),
);
/** Put under a number so that whoever was about to write it fails: its backups fail. */
const voidRecord = once(() => openObject({ kind: z.literal('void') }));

/** By kind; made when a record of the kind comes, since most commands see one or two of them. */
const SCHEMAS = {
  store,
  owner,
  agent,
  source: sourceRecord,
  commit,
  expiry,
  promotion,
  pin,
  tag,
  policy,
  recipients,
  damage,
  void: voidRecord,
};
type Kind = keyof typeof SCHEMAS;

/** A durable decision, as the journal's clear part holds it. Fields that this version does not know are kept. */
export type JournalRecord = { [K in Kind]: z.infer<ReturnType<(typeof SCHEMAS)[K]>> }[Kind];
export type JournalRecordOf<K extends Kind> = Extract<JournalRecord, { kind: K }>;

/** False for a record that only a newer Tidemark can have written. */
export function isKnownKind(record: unknown): record is { readonly kind: Kind } {
  if (typeof record !== 'object' || record === null || !('kind' in record)) return false;
  return typeof record.kind === 'string' && Object.hasOwn(SCHEMAS, record.kind);
}

/** Kinds that occur in what should be a list of records; all where something else occurs, too. */
export function kindsIn(records: unknown): readonly Kind[] {
  const known = Array.isArray(records) && records.length > 0 && records.every(isKnownKind);
  return known ? [...new Set(records.map(({ kind }) => kind))].sort() : (Object.keys(SCHEMAS) as Kind[]);
}

/** Of records of these kinds. */
export function recordSchema(kinds: readonly Kind[]): z.ZodType<JournalRecord> {
  const [first, ...others] = kinds.map(
    (kind) => SCHEMAS[kind]() as z.ZodObject<{ kind: z.ZodLiteral<Kind> }>,
  );
  return z.discriminatedUnion('kind', [first!, ...others]) as unknown as z.ZodType<JournalRecord>;
}
