import type { TreePath } from '../model/tree-path.ts';
import type { MovedStates } from '../monitor/moved-entries.ts';
import type { EntryVersion, Registry } from '../registry/port.ts';

/** Records that are asked for at once: they are used while other work goes on, so that no cursor may stay open. */
const PAGE = 1000;

/** What the registry at hand holds of a backup. */
export function movedStates({ entries }: Registry, sourceId: number, seq: number): MovedStates {
  return {
    async *records(within: TreePath) {
      let after: EntryVersion | undefined;
      for (;;) {
        const page: EntryVersion[] = [];
        const options = { within, page: { after, limit: PAGE } };
        for await (const some of entries.list(sourceId, seq, options)) page.push(...some);
        yield page;
        if (page.length < PAGE) return;
        after = page.at(-1);
      }
    },
  };
}
