import { openRoot } from '../agent/open-scan.ts';
import { isWithin, type TreePath } from '../model/tree-path.ts';
import { close } from '../posix/index.ts';
import { chooseSource } from '../watch/choose-source.ts';
import { FanotifySource } from '../watch/fanotify/fanotify-source.ts';
import { InotifySource } from '../watch/inotify/inotify-source.ts';
import { PollSource } from '../watch/poll/poll-source.ts';
import type { EventSource, WatchOptions } from '../watch/port.ts';
import type { EventSources, Started } from './port.ts';

/** Milliseconds between two looks where nothing tells of changes. */
const POLL_MS = 10_000;

/** Event sources of one folder, each time the kind that its mounts ask for now. */
export class RootSources implements EventSources {
  readonly #root: Buffer;
  readonly #excluded: readonly TreePath[];

  /** `own`: canonical paths of home, store and registry, which are never watched. */
  constructor(root: Buffer, own: readonly Buffer[]) {
    this.#root = root;
    this.#excluded = own.map((path) => below(root, path)).filter((path) => path !== undefined);
  }

  async start(): Promise<Started> {
    return this.#withRoot(async (options) => {
      const { kind, reason } = chooseSource(options);
      return { source: await startSource(kind, options), reason };
    });
  }

  hasBetter(kind: EventSource['kind']): boolean {
    const rootFd = openRoot(this.#root);
    try {
      return chooseSource({ rootFd, rootPath: this.#root }).kind !== kind;
    } finally {
      close(rootFd);
    }
  }

  async #withRoot<T>(work: (options: WatchOptions) => Promise<T>): Promise<T> {
    const rootFd = openRoot(this.#root);
    try {
      return await work({ rootFd, rootPath: this.#root, excluded: this.#excluded });
    } finally {
      close(rootFd);
    }
  }
}

function startSource(kind: EventSource['kind'], options: WatchOptions): Promise<EventSource> {
  switch (kind) {
    case 'fanotify':
      return FanotifySource.start(options);
    case 'inotify':
      return InotifySource.start(options);
    case 'poll':
      return PollSource.start({ ...options, intervalMs: POLL_MS, now: Date.now });
  }
}

/** Both absolute and canonical. */
function below(root: Buffer, path: Buffer): TreePath | undefined {
  const [inner, outer] = [path, root].map((one) =>
    Buffer.from(one.toString('latin1').replace(/\/+$/, '').replaceAll('/', '\0'), 'latin1'),
  );
  return isWithin(inner!, outer!) && inner!.length > outer!.length
    ? inner!.subarray(outer!.length + 1)
    : undefined;
}
