import { compareEpochs, type KnownCommit } from './history.ts';

/** Ascending by epoch, then seq. */
const byAge = ({ commit: a }: KnownCommit, { commit: b }: KnownCommit): number =>
  compareEpochs(a.epoch, b.epoch) || a.sourceSeq - b.sourceSeq;

/**
 * The true commits of a source, oldest first: of two that name one base, the one on the path to the highest
 * (epoch, seq) whose tree is complete (1-architecture, "The store outlives the registry"). `isComplete` reads the store;
 * it is asked only where there is a choice. Where no tip is complete the newest one is taken, so that damage is named.
 */
export async function truePath(
  commits: ReadonlyMap<number, KnownCommit>,
  isComplete: (tip: KnownCommit) => Promise<boolean>,
): Promise<KnownCommit[]> {
  const all = [...commits.values()];
  const bases = new Set(all.map((known) => baseOf(commits, known)?.commit.sourceSeq));
  const tips = all.filter(({ commit }) => !bases.has(commit.sourceSeq)).toSorted((a, b) => byAge(b, a));
  let tip = tips[0];
  if (tips.length > 1) {
    for (const candidate of tips) {
      if (!(await isComplete(candidate))) continue;
      tip = candidate;
      break;
    }
  }
  const path: KnownCommit[] = [];
  for (let at = tip; at; at = baseOf(commits, at)) path.push(at);
  return path.reverse();
}

/** Its base; where the journal has lost that one, the newest commit before it. */
function baseOf(
  commits: ReadonlyMap<number, KnownCommit>,
  { commit: { baseSeq, sourceSeq } }: KnownCommit,
): KnownCommit | undefined {
  if (baseSeq === 0 || baseSeq >= sourceSeq) return undefined;
  const exact = commits.get(baseSeq);
  if (exact) return exact;
  const before = [...commits.values()].filter(({ commit }) => commit.sourceSeq < baseSeq);
  return before.toSorted(byAge).at(-1);
}
