import { expect, it, vi } from 'vitest';
import {
  baseName,
  compareEntries,
  fromSlashes,
  isWithin,
  parentPath,
  pathToDisplay,
  type TreePath,
} from '../model/tree-path.ts';
import type { BaseEntry, WorkBatch, WorkItem } from '../scan/index.ts';
import { MovedEntries, type MovedStates } from './moved-entries.ts';

const hashOf = (path: string): Buffer => Buffer.from(path.padEnd(32).slice(0, 32));

/** Records of these paths, two in a page. */
class Records implements MovedStates {
  readonly asked: string[] = [];
  open = 0;
  readonly #entries: BaseEntry[];

  constructor(paths: readonly string[]) {
    this.#entries = paths
      .map((path) => ({ path, at: fromSlashes(path) }))
      .map(({ path, at }) => ({
        dir: parentPath(at),
        name: baseName(at),
        hash: hashOf(path),
        state: Buffer.from(`state of ${path}`),
        hints: Buffer.from(`hints of ${path}`),
      }))
      .sort((a, b) => compareEntries(a.dir, a.name, b.dir, b.name));
  }

  async *records(within: TreePath) {
    this.asked.push(pathToDisplay(within));
    this.open++;
    try {
      const below = this.#entries.filter(({ dir }) => isWithin(dir, within));
      for (let at = 0; at < below.length; at += 2) yield below.slice(at, at + 2);
    } finally {
      this.open--;
    }
  }
}

const item = (from: string | undefined, name: string, hash = hashOf(`${from}/${name}`)): WorkItem => ({
  handle: 0,
  name: Buffer.from(name),
  stat: Buffer.alloc(0),
  size: 1,
  previousHash: undefined,
  from: from === undefined ? undefined : { dir: fromSlashes(from), hash },
});

const batchOf = (...items: WorkItem[]): WorkBatch => ({
  id: 1,
  groups: [{ dirFd: 0, dir: fromSlashes('new'), items }],
  count: items.length,
  bytes: 0,
});

async function known(entries: MovedEntries, ...items: WorkItem[]): Promise<(string | undefined)[]> {
  const found = await entries.known(batchOf(...items));
  return items.map((one) => found.get(one)?.state.toString());
}

it('gives the records of what came along, in one pass over a folder and what is below it', async () => {
  const records = new Records(['a/f', 'a/g', 'a/h', 'a/d/f', 'a/d/e/f', 'a!/x']);
  const entries = new MovedEntries(records);
  expect(await known(entries, item('a', 'f'), item(undefined, 'new'), item('a', 'h'))).toEqual([
    ...['state of a/f', undefined, 'state of a/h'],
  ]);
  expect(await known(entries, item('a/d', 'f'), item('a/d/e', 'f'))).toEqual([
    ...['state of a/d/f', 'state of a/d/e/f'],
  ]);
  expect(records.asked).toEqual(['a']);
  entries.close();
});

it('begins anew for another folder, or one that it has passed', async () => {
  const records = new Records(['a/f', 'a/d/f', 'b/g']);
  const entries = new MovedEntries(records);
  expect(await known(entries, item('a/d', 'f'), item('b', 'g'), item('a', 'f'))).toEqual([
    ...['state of a/d/f', 'state of b/g', 'state of a/f'],
  ]);
  expect(records.asked).toEqual(['a/d', 'b', 'a']);
  entries.close();
  await vi.waitFor(() => expect(records.open).toBe(0));
});

it('what has no record, or another one than the agent knows of, is read', async () => {
  const entries = new MovedEntries(new Records(['a/f', 'a/h']));
  expect(await known(entries, item('a', 'f', hashOf('other')), item('a', 'g'), item('a', 'h'))).toEqual([
    ...[undefined, undefined, 'state of a/h'],
  ]);
  expect(await known(entries, item('gone', 'f'))).toEqual([undefined]);
});

it('asks for nothing where nothing moved', async () => {
  const records = new Records(['a/f']);
  expect(await known(new MovedEntries(records), item(undefined, 'f'))).toEqual([undefined]);
  expect(records.asked).toEqual([]);
});
