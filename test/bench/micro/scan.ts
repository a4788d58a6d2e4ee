import { join } from 'node:path';
import { DigestSum } from '../../../libs/model/digests.ts';
import { ExcludeRules, openState, Scan, StateWriter, type WorkBatch } from '../../../libs/scan/index.ts';
import { hold, type MicroCase } from './case.ts';
import { SmallTree } from './tree.ts';

const HASH = Buffer.alloc(32, 1);
const HOUR_NS = 3_600_000_000_000n;
/** Everything is older than that, so that nothing is racy. */
const later = () => BigInt(Date.now()) * 1_000_000n + HOUR_NS;

interface Found {
  readonly work: number;
  readonly unchanged: number;
}

/** Scans against the state of the scan before, which is committed where `commit` says so. */
class Scanner {
  readonly #tree: SmallTree;
  readonly #statePath: string;
  #digest: Buffer | undefined;

  constructor(tree: SmallTree) {
    this.#tree = tree;
    this.#statePath = join(tree.base, 'state');
  }

  scan(commit: boolean): Found {
    const state = this.#digest && openState(this.#statePath, identityOf(this.#digest));
    const stateWriter = new StateWriter(this.#statePath, later());
    const scan = new Scan({
      rootFd: this.#tree.rootFd,
      rootPath: Buffer.from(this.#tree.root),
      state,
      stateWriter,
      readAll: false,
      excludes: new ExcludeRules(),
      oneFileSystem: false,
      skip: [],
      startedAt: later(),
    });
    let work = 0;
    const sum = new DigestSum();
    for (let step = scan.next(); step.type !== 'end'; step = scan.next()) {
      if (step.type !== 'work') continue;
      work += settle(step.batch, stateWriter, sum);
      scan.release(step.batch.id);
    }
    const { unchanged } = scan.totals;
    if (commit) {
      this.#digest = sum.bytes();
      stateWriter.finish(identityOf(this.#digest));
      stateWriter.commit();
    } else stateWriter.abandon();
    scan.close();
    state?.close();
    return { work, unchanged };
  }
}

const identityOf = (stateDigest: Buffer) => ({
  sourceUid: 'micro',
  seq: 1,
  epoch: { generation: 1, counter: 1 },
  stateDigest,
});

/** As if all had been read. */
function settle(batch: WorkBatch, writer: StateWriter, sum: DigestSum): number {
  for (const { items } of batch.groups)
    for (const { handle } of items) {
      writer.patch(handle, { hash: HASH, trusted: true });
      sum.add(HASH);
    }
  return batch.count;
}

const scanning = (name: string, isKnown: boolean): MicroCase => ({
  name,
  unit: 'entry',
  prepare(scale) {
    const tree = new SmallTree(Math.ceil(200 * scale));
    const scanner = new Scanner(tree);
    if (isKnown) scanner.scan(true);
    let found: Found;
    return {
      run() {
        found = scanner.scan(false);
        return tree.entries;
      },
      check() {
        hold(found.work === (isKnown ? 0 : tree.entries), 'what there is to read');
        hold(found.unchanged === (isKnown ? tree.entries : 0), 'what is as it was');
      },
      close: () => tree.close(),
    };
  },
});

export const scanCases = [
  scanning('scan of a new tree', false),
  scanning('merge-join with the last known state', true),
];
