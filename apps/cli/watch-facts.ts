import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { loadCredentials } from '../../libs/agent/credentials.ts';
import { openRoot } from '../../libs/agent/open-scan.ts';
import { canonicalRoot } from '../../libs/catalogue/find-backup.ts';
import type { WatchFacts } from '../../libs/doctor/watch.ts';
import { readJson } from '../../libs/embedded/home.ts';
import { bytesToDisplay } from '../../libs/model/tree-path.ts';
import { close } from '../../libs/posix/index.ts';
import { chooseSource } from '../../libs/watch/choose-source.ts';

/** As the registry has it. */
interface KnownSource {
  readonly agent: string;
  /** Of an enrolled agent. */
  readonly agentUid: string | undefined;
  readonly root: Buffer;
  /** In its newest backup; undefined where there is none. */
  readonly directories: number | undefined;
}

/** Of the folder that was asked about, else of all that this host has backed up. Nothing is left behind. */
export async function watchFacts(
  home: string,
  sources: readonly KnownSource[],
  dir: string | undefined,
): Promise<WatchFacts[]> {
  const known = sources.filter(await isOfThisHost(home));
  const asked = dir === undefined ? undefined : canonicalRoot(dir);
  if (!asked) return known.map(factsOf);
  return [factsOf(known.find(({ root }) => root.equals(asked)) ?? { root: asked, directories: undefined })];
}

async function isOfThisHost(home: string): Promise<(source: KnownSource) => boolean> {
  const name = (await readJson<{ agent: string }>(join(home, 'home.json')))?.agent ?? hostname();
  const enrolled = (await loadCredentials(home))?.agent.id;
  return ({ agent, agentUid }) => (agentUid === undefined ? agent === name : agentUid === enrolled);
}

function factsOf({ root, directories }: Pick<KnownSource, 'root' | 'directories'>): WatchFacts {
  const about = { root: bytesToDisplay(root), directories, inotifyWatches: inotifyWatches() };
  try {
    const rootFd = openRoot(root);
    try {
      return { ...about, choice: chooseSource({ rootFd, rootPath: root }), failure: undefined };
    } finally {
      close(rootFd);
    }
  } catch (error) {
    return { ...about, choice: undefined, failure: (error as Error).message };
  }
}

/** How many folders one user may watch; undefined where that can't be read. */
export function inotifyWatches(): number | undefined {
  try {
    return Number(readFileSync('/proc/sys/fs/inotify/max_user_watches', 'latin1'));
  } catch {
    return undefined;
  }
}
