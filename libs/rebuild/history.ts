import type { Epoch } from '../model/backup.ts';
import type { TmError } from '../model/errors.ts';
import type { RunRef } from '../registry/port.ts';
import type { JournalRecordOf } from '../store/journal.ts';
import { isDamage } from './damage.ts';
import { type Decision, inOrder } from './decisions.ts';
import type { SealedPolicy } from './sealed-policy.ts';

export type Commit = JournalRecordOf<'commit'>;

export const labelOf = ({ label, sourceSeq }: Commit): string => label ?? `#${sourceSeq}`;

/** A commit record and what later records say of its backup. */
export interface KnownCommit {
  readonly commit: Commit;
  tags: Readonly<Record<string, string>>;
  pinned: boolean;
  expired: boolean;
}

/** The secret fields of a source record. */
export interface SourceSecret {
  /** Base64. */
  readonly root: string;
  readonly agent: string;
  /** Of an enrolled agent. */
  readonly agentUid?: string | undefined;
  /** Base64. */
  readonly key: string;
}

export interface SourceHistory {
  readonly uid: string;
  readonly domain: string;
  readonly secret: SourceSecret;
  /** By source seq. */
  readonly commits: Map<number, KnownCommit>;
  /** Seqs that became the baseline, in the order in which they did. */
  readonly baselines: number[];
  /** null: it was removed; undefined: the journal says nothing of one. */
  policy: SealedPolicy['policy'] | undefined;
}

/** Packs and blocks that were found damaged, ids in hex. */
export interface DomainDamage {
  readonly packs: Set<string>;
  readonly blocks: Set<string>;
}

/** What the journal says of the domains that can be opened. */
export interface StoreHistory {
  readonly sources: readonly SourceHistory[];
  /** Sources of other domains, whose records the identity does not open. */
  readonly foreignSources: number;
  /** By domain; of every one that can be opened. */
  readonly damage: ReadonlyMap<string, DomainDamage>;
  /** Enrolled agents of those domains, in the order in which they were. */
  readonly agents: readonly KnownAgent[];
  /** Commits of sources whose record is lost, by the source's uid: nothing opens their entries' hashes. */
  readonly sourceless: ReadonlyMap<string, readonly Commit[]>;
  /** Objects with records whose secret fields can't be opened, and why. */
  readonly unopened: ReadonlyMap<string, TmError>;
}

export interface KnownAgent {
  readonly uid: string;
  readonly name: string;
  readonly domain: string;
}

/** Plaintext of a sealed frame, parsed as JSON. */
export type OpenSealed = <T>(sealed: Buffer) => Promise<T>;
/** What opens the sealed fields of each domain. */
export type Openers = ReadonlyMap<string, OpenSealed>;

interface Folding {
  readonly openers: Openers;
  readonly sources: Map<string, SourceHistory>;
  readonly agents: Map<string, KnownAgent>;
  readonly foreign: Set<string>;
  readonly damage: ReadonlyMap<string, DomainDamage>;
  readonly runs: Map<string, RunRef>;
  readonly sourceless: Map<string, Commit[]>;
  readonly unopened: Map<string, TmError>;
}

/** Applies all decisions of the domains in order. What names a source of another domain is passed over. */
export async function foldHistory(decisions: readonly Decision[], openers: Openers): Promise<StoreHistory> {
  const folding: Folding = {
    openers,
    sources: new Map(),
    agents: new Map(),
    foreign: new Set(),
    damage: new Map([...openers.keys()].map((domain) => [domain, { packs: new Set(), blocks: new Set() }])),
    runs: new Map(),
    sourceless: new Map(),
    unopened: new Map(),
  };
  const ordered = inOrder(decisions);
  for (const decision of ordered) await learn(folding, decision);
  for (const decision of ordered) await fold(folding, decision);
  return {
    sources: [...folding.sources.values()],
    foreignSources: folding.foreign.size,
    damage: folding.damage,
    agents: [...folding.agents.values()],
    sourceless: folding.sourceless,
    unopened: folding.unopened,
  };
}

/** Takes in who there is: a source's record may stand behind what names it. */
async function learn(folding: Folding, decision: Decision): Promise<void> {
  const { record } = decision;
  if (record.kind === 'agent') {
    const { uid, domain } = record;
    const secret = folding.openers.has(domain) && (await opened<{ name: string }>(folding, decision, domain));
    if (secret) folding.agents.set(uid, { uid, name: secret.name, domain });
  } else if (record.kind === 'source' && !folding.sources.has(record.uid)) {
    const { uid, domain } = record;
    if (!folding.openers.has(domain)) folding.foreign.add(uid);
    else {
      const secret = await opened<SourceSecret>(folding, decision, domain);
      if (secret)
        folding.sources.set(uid, {
          uid,
          domain,
          secret,
          commits: new Map(),
          baselines: [],
          policy: undefined,
        });
    }
  }
}

/** The record's secret fields; undefined, and noted, where damage keeps them shut. */
async function opened<T>(
  { unopened, openers }: Folding,
  { object, sealed }: Decision,
  domain: string,
): Promise<T | undefined> {
  try {
    return await openers.get(domain)!<T>(sealed!);
  } catch (error) {
    if (!isDamage(error)) throw error;
    unopened.set(object.name, error);
    return undefined;
  }
}

async function fold(folding: Folding, decision: Decision): Promise<void> {
  const { record, sealed } = decision;
  if (record.kind === 'damage') {
    const damage = folding.damage.get(record.domain);
    for (const pack of record.packs) damage?.packs.add(pack);
    for (const block of record.blocks) damage?.blocks.add(block);
    return;
  }
  const source = 'source' in record && record.source ? folding.sources.get(record.source) : undefined;
  if (!source) {
    if (record.kind === 'commit' && !folding.foreign.has(record.source))
      folding.sourceless.set(record.source, [...(folding.sourceless.get(record.source) ?? []), record]);
    return;
  }
  const tagsOf = () => opened<{ tags: Record<string, string> }>(folding, decision, source.domain);
  if (record.kind === 'commit') {
    const tags = sealed && (await tagsOf())?.tags;
    addCommit(source, record, tags ?? {}, folding.runs);
  } else if (record.kind === 'policy') {
    const secret = await opened<SealedPolicy>(folding, decision, source.domain);
    if (secret) source.policy = secret.policy;
  } else if (record.kind === 'promotion') source.baselines.push(record.sourceSeq);
  else if (record.kind === 'expiry') {
    for (const seq of record.sourceSeqs) {
      const known = source.commits.get(seq);
      if (known) known.expired = true;
    }
  } else if (record.kind === 'pin' || record.kind === 'tag') {
    const known = source.commits.get(record.sourceSeq);
    if (!known) return;
    if (record.kind === 'pin') known.pinned = record.pinned;
    else known.tags = (await tagsOf())?.tags ?? known.tags;
  }
}

/** Of two commits of one seq the one of the higher epoch counts. */
function addCommit(
  source: SourceHistory,
  record: Commit,
  tags: Readonly<Record<string, string>>,
  runs: Map<string, RunRef>,
): void {
  const there = source.commits.get(record.sourceSeq);
  if (there && compareEpochs(there.commit.epoch, record.epoch) > 0) return;
  const commit = { ...record, runs: record.runs.map((run) => shared(runs, run)) };
  source.commits.set(record.sourceSeq, { commit, tags, pinned: false, expired: false });
  if (record.backupKind === 'full') source.baselines.push(record.sourceSeq);
}

/** Every commit repeats the runs of the ones before: each is held once. */
function shared(runs: Map<string, RunRef>, run: RunRef): RunRef {
  const key = JSON.stringify([run.fromSeq, run.toSeq, run.records, run.parts.length, run.parts[0]]);
  const there = runs.get(key);
  if (there) return there;
  runs.set(key, run);
  return run;
}

export const compareEpochs = (a: Epoch, b: Epoch): number =>
  a.generation - b.generation || a.counter - b.counter;
