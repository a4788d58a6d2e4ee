import type { BackupInfo, BackupState } from '../model/backup.ts';
import { blockIdsOf, decodeState } from '../model/entry.ts';
import type { Registry, SourceRow } from '../registry/port.ts';
import type { Store } from '../store/port.ts';
import { isDamage } from './damage.ts';
import type { OnFinding, RebuildFinding } from './finding.ts';
import { type Commit, type KnownCommit, labelOf, type SourceHistory, type StoreHistory } from './history.ts';
import { openPart, type RunSource } from './run-cursor.ts';
import { storePolicy } from './sealed-policy.ts';
import { NOTHING_PROVED, type Proved, SourceEntries, statesOf } from './source-entries.ts';
import { distrustBlocks, distrustPacks, takeInPacks } from './take-in-packs.ts';
import { truePath } from './true-path.ts';

export interface RebuildDeps {
  readonly registry: Registry;
  readonly store: Store;
  /** What reading takes, of each domain. */
  readonly runs: ReadonlyMap<string, RunSource>;
  /** Owner generation in which the sources' epochs go on. */
  readonly generation: number;
  /** Found in the journal already. */
  readonly losses: readonly RebuildFinding[];
  /** Seqs that each source leaves out, since lost commits may have had them. */
  readonly lostSeqs: number;
  readonly onFinding: OnFinding;
  readonly onProgress: (progress: Pick<RebuildResult, 'backups' | 'packs'>) => void;
}

export interface RebuildResult {
  sources: number;
  /** Backups that can be restored. */
  backups: number;
  packs: number;
  findings: number;
}

/** Fills an empty registry with what the journal and the packs hold of the domains that can be opened. */
export async function rebuildRegistry(deps: RebuildDeps, history: StoreHistory): Promise<RebuildResult> {
  const result: RebuildResult = { sources: 0, backups: 0, packs: 0, findings: 0 };
  const counting: RebuildDeps = {
    ...deps,
    onFinding: (finding) => {
      result.findings++;
      deps.onFinding(finding);
    },
    onProgress: ({ backups }) => deps.onProgress({ backups: result.backups + backups, packs: result.packs }),
  };
  deps.losses.forEach(counting.onFinding);
  result.packs = await rebuildBlocks(counting, history);
  for (const source of history.sources) {
    result.backups += await rebuildSource(counting, source);
    result.sources++;
  }
  return result;
}

async function rebuildBlocks(
  { registry, store, onFinding }: RebuildDeps,
  { damage }: StoreHistory,
): Promise<number> {
  const deps = { registry, store, domains: new Set(damage.keys()), onFinding };
  const damagedPacks = new Set([...damage.values()].flatMap(({ packs }) => [...packs]));
  const damaged = await takeInPacks(deps, (id) => damagedPacks.has(id));
  for (const [domain, { packs }] of damage) await distrustPacks(registry, domain, packs);
  const whole = await takeInPacks(deps, (id) => !damagedPacks.has(id));
  for (const [domain, { blocks }] of damage)
    await distrustBlocks(
      registry,
      domain,
      [...blocks].map((id) => Buffer.from(id, 'hex')),
    );
  return damaged + whole;
}

/** Gives how many backups of the source can be restored. */
async function rebuildSource(deps: RebuildDeps, history: SourceHistory): Promise<number> {
  const { registry, generation, lostSeqs } = deps;
  const { uid, domain, secret, commits, policy } = history;
  const runs = deps.runs.get(domain)!;
  if (commits.size === 0 && !policy) return 0; // the next backup of its folder makes a source anew
  const nextSeq = [...commits.keys()].reduce((a, b) => Math.max(a, b), 0) + 1 + lostSeqs;
  const row: SourceRow = {
    id: 0,
    uid,
    agent: secret.agent,
    agentUid: secret.agentUid,
    root: Buffer.from(secret.root, 'base64'),
    key: Buffer.from(secret.key, 'base64'),
    domain,
    epoch: { generation, counter: 0 },
    head: 0,
    baseline: 0,
    rootHint: undefined,
  };
  const source = await registry.backups.restoreSource(row, nextSeq);
  if (policy !== undefined) await storePolicy(registry, source.id, policy);
  const path = await truePath(commits, (tip) => isComplete(registry, runs, tip.commit));
  const proved = await rebuildPath(deps, history, source, path);
  const onPath = new Set(path);
  for (const known of commits.values())
    if (!onPath.has(known)) await restore(registry, source, known, 'fenced', 'TM1502');
  const head = path.findLast(({ commit }) => proved.has(commit.sourceSeq))?.commit.sourceSeq ?? 0;
  const baseline = history.baselines.findLast((seq) => proved.has(seq)) ?? 0;
  const { rootHint } = commits.get(head)?.commit ?? {};
  await registry.backups.restoreSource({ ...row, head, baseline, rootHint }, nextSeq);
  return path.filter(({ commit, expired }) => !expired && proved.has(commit.sourceSeq)).length;
}

/**
 * Entries of every backup that is kept, and of the newest one and the baseline even if they have expired, since the next
 * backup is counted from them. Gives the seqs whose tree is proved.
 */
async function rebuildPath(
  { registry, runs: allRuns, onFinding, onProgress }: RebuildDeps,
  { domain, baselines }: SourceHistory,
  source: SourceRow,
  path: readonly KnownCommit[],
): Promise<Set<number>> {
  const runs = allRuns.get(domain)!;
  const entries = new SourceEntries(registry, runs, source);
  const needed = new Set([path.at(-1)?.commit.sourceSeq, baselines.at(-1)]);
  const proved = new Set<number>();
  let before: Proved = NOTHING_PROVED;
  for (const known of path) {
    const { commit, expired } = known;
    if (expired && !needed.has(commit.sourceSeq)) {
      await restore(registry, source, known, 'expired');
      continue;
    }
    try {
      before = await entries.apply(before, commit);
      proved.add(commit.sourceSeq);
      await restore(registry, source, known, expired ? 'expired' : 'committed');
    } catch (error) {
      if (!isDamage(error)) throw error;
      await distrustRuns(registry, runs, commit);
      await restore(registry, source, known, expired ? 'expired' : 'failed', error.code);
      if (!expired)
        onFinding({
          code: error.code,
          label: labelOf(commit),
          message: `backup ${labelOf(commit)} cannot be rebuilt: ${error.message}`,
        });
    }
    onProgress({ backups: proved.size, packs: 0 });
  }
  return proved;
}

/**
 * Marks what can't be read of a commit's runs as damaged: a later run of the same content has the same block id, and
 * would otherwise be looked for here.
 */
async function distrustRuns(registry: Registry, runs: RunSource, commit: Commit): Promise<void> {
  for (const part of commit.runs.flatMap((run) => run.parts)) {
    if (part.in !== 'pack') continue;
    try {
      await openPart(runs, part);
    } catch (error) {
      if (!isDamage(error)) throw error;
      const blocks = await registry.blocks.blocksOf(runs.domainId, Buffer.from(part.pack, 'hex'));
      const ids = blocks.filter((block) => block.frameOffset === part.frameOffset).map(({ id }) => id);
      await distrustBlocks(registry, runs.domainId, ids);
    }
  }
}

/** Its runs can be read, and every block that its entries name is there. */
async function isComplete(registry: Registry, runs: RunSource, commit: Commit): Promise<boolean> {
  try {
    for await (const states of statesOf(runs, commit)) {
      const ids = states.flatMap((state) => blockIdsOf(decodeState(state)));
      if (ids.length > 0 && (await registry.blocks.present(runs.domainId, Buffer.concat(ids))).includes(0))
        return false;
    }
    return true;
  } catch (error) {
    if (isDamage(error)) return false;
    throw error;
  }
}

async function restore(
  registry: Registry,
  source: SourceRow,
  known: KnownCommit,
  state: BackupState,
  failure?: string,
): Promise<void> {
  await registry.backups.restoreBackup(backupOf(source, known, state, failure), known.commit.runs);
}

/** The backup's row as its commit record and later ones have it. */
export function backupOf(
  source: SourceRow,
  { commit, tags, pinned }: Pick<KnownCommit, 'commit' | 'tags' | 'pinned'>,
  state: BackupState,
  failure?: string,
): BackupInfo {
  return {
    id: commit.backupId,
    sourceId: source.id,
    seq: commit.sourceSeq,
    epoch: commit.epoch,
    kind: commit.backupKind,
    label: labelOf(commit),
    baselineSeq: commit.baselineSeq,
    baseSeq: commit.baseSeq,
    state,
    openedAt: new Date(commit.openedAt ?? commit.time),
    committedAt: new Date(commit.time),
    readFrom: new Date(commit.readFrom),
    readTo: new Date(commit.readTo),
    stateDigest: Buffer.from(commit.stateDigest, 'hex'),
    counts: commit.counts,
    tags,
    pinned,
    gaps: commit.gaps,
    failure,
  };
}
