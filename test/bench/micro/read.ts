import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { UnstoredReader } from '../../../libs/collect/unstored-reader.ts';
import { DigestSum } from '../../../libs/model/digests.ts';
import * as posix from '../../../libs/posix/index.ts';
import { hold, type MicroCase } from './case.ts';
import { SmallTree } from './tree.ts';

const setup = {
  domainId: '00112233-4455-6677-8899-aabbccddeeff',
  dedupKey: Buffer.alloc(32, 1),
  digestKey: Buffer.alloc(32, 2),
  sourceKey: Buffer.alloc(32, 3),
  gearSeed: Buffer.alloc(32, 4),
  rootDev: 0n,
  startedAtNs: 2n ** 62n,
  granularityNs: 0n,
};

/** Every file of the tree: opened, read, hashed, encoded. */
async function readAll(tree: SmallTree, sum: DigestSum): Promise<number> {
  const reader = new UnstoredReader(setup);
  const stat = new posix.Stat();
  let files = 0;
  for (const dir of readdirSync(tree.root)) {
    const fd = posix.check(posix.openDirAt(tree.rootFd, Buffer.from(dir)), 'open');
    for (const name of readdirSync(join(tree.root, dir))) {
      const bytes = Buffer.from(name);
      posix.check(posix.statx(fd, bytes, stat), 'statx');
      sum.add((await reader.read(fd, Buffer.from(dir), bytes, stat)).hash);
      files++;
    }
    posix.close(fd);
  }
  return files;
}

const reading: MicroCase = {
  name: 'small files read, hashed and encoded',
  unit: 'entry',
  prepare(scale) {
    const tree = new SmallTree(Math.ceil(60 * scale));
    let [files, sum] = [0, new DigestSum()];
    const first = new DigestSum();
    return {
      async run() {
        sum = new DigestSum();
        files = await readAll(tree, sum);
        if (first.bytes().every((byte) => byte === 0)) first.add(sum.bytes());
        return files;
      },
      check() {
        hold(files === tree.entries - 1 - readdirSync(tree.root).length, 'every file was read');
        hold(sum.bytes().equals(first.bytes()) && sum.bytes().some((byte) => byte > 0), 'each time the same');
      },
      close: () => tree.close(),
    };
  },
};

export const readCases = [reading];
