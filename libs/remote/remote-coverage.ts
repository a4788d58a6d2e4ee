import type { Period } from '../catalogue/backup-reader.ts';
import { type GapView, watchRoutes as routes } from '../contracts/api/watch.ts';
import type { Gap, Span } from '../watch/coverage.ts';
import type { ServerConnection } from './server-connection.ts';

/** Page by page. Of a source that nobody ever said to watch all is unwatched. */
export async function remoteCoverage(
  { control, signal }: ServerConnection,
  sourceUid: string,
  { from, to }: Period,
): Promise<Span[]> {
  const spans: Span[] = [];
  const known = new Map<string, Gap>();
  for (let next: string | null = from.toISOString(); next !== null; ) {
    const query: { from: string; to: string } = { from: next, to: to.toISOString() };
    const page: Awaited<ReturnType<typeof ask>> = await ask(query);
    const gaps = page.gaps.map((view) => {
      const key = `${view.openedAt} ${view.gap}`;
      const gap = known.get(key) ?? gapOf(view); // on several pages it is one
      known.set(key, gap);
      return gap;
    });
    for (const span of page.spans)
      spans.push({
        from: Date.parse(span.from),
        to: Date.parse(span.to),
        kind: span.kind,
        gaps: span.gaps.map((i) => gaps[i]!),
      });
    next = page.next;
  }
  return spans;

  function ask(query: { from: string; to: string }) {
    return control.call(routes.coverage, { params: { id: sourceUid }, query }, { signal });
  }
}

const gapOf = ({ gap, reason, openedAt, endedAt, closedAt }: GapView): Gap => ({
  gap,
  reason: reason as Gap['reason'],
  from: Date.parse(openedAt),
  ...(endedAt !== null && { to: Date.parse(endedAt) }),
  ...(closedAt !== null && { closedAt: Date.parse(closedAt) }),
});
