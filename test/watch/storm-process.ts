import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * `node storm-process.ts ROOT OUTSIDE SEED OPERATIONS`: changes a tree at random, as fast as it can. Without hard links:
 * what is written through one that is gone before anybody looks is the port's "A limit".
 */
const [root, outside, seed, operations] = process.argv.slice(2) as [string, string, string, string];

let state = Number(seed);
/** mulberry32: below `limit`. */
function random(limit: number): number {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) % limit;
}

const NAMES = [...'abcdefghij'];
const DEPTH = 4;

function path(depth: number = 1 + random(DEPTH)): string {
  return join(root, ...Array.from({ length: depth }, () => NAMES[random(NAMES.length)]!));
}

/** One that is there, mostly: a walk down at random. */
function found(): string {
  let at = root;
  for (let i = random(DEPTH); i >= 0; i--) {
    let names: string[];
    try {
      names = readdirSync(at);
    } catch {
      break;
    }
    if (names.length === 0) break;
    at = join(at, names[random(names.length)]!);
  }
  return at === root ? path() : at;
}

const OPERATIONS: (() => void)[] = [
  () => writeFileSync(path(), `${random(1e9)}`),
  () => writeFileSync(found(), `${random(1e9)}`),
  () => appendFileSync(found(), 'more'),
  () => appendFileSync(found(), 'more'),
  () => truncateSync(found(), random(5)),
  () => chmodSync(found(), 0o700 + random(64)),
  () => utimesSync(found(), random(1e9), random(1e9)),
  () => mkdirSync(path(), { recursive: true }),
  () => {
    const file = path(DEPTH);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `${random(1e9)}`);
  },
  () => renameSync(found(), path()),
  () => renameSync(found(), path()),
  () => renameSync(found(), found()),
  () => symlinkSync(path(), path()),
  () => unlinkSync(found()),
  () => unlinkSync(found()),
  () => {
    if (random(4) === 0) rmSync(found(), { recursive: true });
  },
  () => renameSync(found(), join(outside, NAMES[random(NAMES.length)]!)),
  () => renameSync(join(outside, NAMES[random(NAMES.length)]!), path()),
];

for (let i = Number(operations); i > 0; i--) {
  try {
    OPERATIONS[random(OPERATIONS.length)]!();
  } catch {
    // Most of what is tried at random can't be done: there is nothing of that name, or something else.
  }
}
