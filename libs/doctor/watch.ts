import { type Finding, ok, warning } from './finding.ts';

/** A folder that is backed up, or that was asked about. */
export interface WatchFacts {
  /** For people. */
  readonly root: string;
  /** How `watch` would notice changes, and why so; undefined where the folder can't be looked at. */
  readonly choice: { readonly kind: 'inotify' | 'fanotify' | 'poll'; readonly reason: string } | undefined;
  /** Why not. */
  readonly failure: string | undefined;
  /** As the newest backup counted them; undefined where there is none. */
  readonly directories: number | undefined;
  /** max_user_watches; undefined where it can't be read. */
  readonly inotifyWatches: number | undefined;
}

/** A watch per folder: other programs need some, too. */
const SHARE = 0.8;

/** How a folder would be watched, and whether that can see all of it. */
export function checkWatch(facts: WatchFacts): Finding {
  const { root, choice, failure } = facts;
  if (!choice)
    return warning(
      'watch',
      `${root} can't be watched now: ${failure ?? 'it is not there'}`,
      'Mount or make the folder, or run as a user who may read it.',
    );
  const text = `${root} would be watched by ${choice.kind}: ${choice.reason}`;
  if (choice.kind === 'inotify') return limited(text, facts);
  return ok('watch', choice.kind === 'poll' ? `${text}; all of it is looked at again and again` : text);
}

function limited(text: string, { directories, inotifyWatches: limit }: WatchFacts): Finding {
  if (directories === undefined) return ok('watch', text);
  if (limit === undefined) return ok('watch', `${text}; it has ${directories} folders`);
  const counted = `${text}; it has ${directories} folders, ${limit} may be watched`;
  if (directories <= limit * SHARE) return ok('watch', counted);
  const enough = 2 ** Math.ceil(Math.log2(directories * 2));
  const guidance = `sysctl fs.inotify.max_user_watches=${enough} (in /etc/sysctl.d to keep it), or watch as root. Until then what can't be watched is a gap, and is looked at every ten minutes.`;
  return warning('watch', counted, guidance);
}
