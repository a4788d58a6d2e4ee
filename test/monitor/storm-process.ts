import {
  appendFileSync,
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { pathInTree } from './tree.ts';

/**
 * `node storm-process.ts TREE SEED I COUNT`, forked, the I-th of COUNT: changes what is in `TREE/storm` at random, as fast
 * as it can, until it is told to 'pause' (answers 'paused'), 'resume' or 'stop'. What others of its kind took away
 * meanwhile is no error. Of the files that `makeTree` made in `TREE/calm` it changes each COUNT-th once, and nobody else
 * does: a change that is missed there is not made up for by a later one.
 */
const [tree, seed, own, count] = process.argv.slice(2) as [string, string, string, string];
const root = join(tree, 'storm');
const SLICE_MS = 10;
const NAMES = 40;
const EXPECTED = new Set([
  'ENOENT',
  'EEXIST',
  'ENOTDIR',
  'EISDIR',
  'ENOTEMPTY',
  'EINVAL',
  'EPERM',
  'ELOOP',
  'EMLINK',
]);

let state = Number(seed);
/** mulberry32: below `limit`. */
function random(limit: number): number {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) % limit;
}

/** A walk down at random; files and directories alike. */
function found(steps: number = 1 + random(4)): string {
  let at = root;
  for (let i = 0; i < steps; i++) {
    let names: string[];
    try {
      names = readdirSync(at);
    } catch {
      break;
    }
    if (names.length === 0) break;
    at = join(at, names[random(names.length)]!);
  }
  return at === root ? fresh() : at;
}

function directory(): string {
  const at = found(random(3));
  try {
    readdirSync(at);
    return at;
  } catch {
    return root;
  }
}

/** A name that may be taken, by a file or by a directory. */
const fresh = (): string => join(random(3) === 0 ? root : directory(), `s${random(NAMES)}`);
const text = (): string => 'storm '.repeat(random(800)) + random(1e9);

const OPERATIONS: (() => void)[] = [
  () => writeFileSync(fresh(), text()),
  () => writeFileSync(fresh(), text()),
  () => writeFileSync(found(), text()),
  () => appendFileSync(found(), text()),
  () => appendFileSync(found(), 'more'),
  () => truncateSync(found(), random(100)),
  () => chmodSync(found(), 0o600 + random(128)),
  () => renameSync(found(), fresh()),
  () => renameSync(found(), found()),
  () => linkSync(found(), fresh()),
  () => unlinkSync(found()),
  () => unlinkSync(found()),
  () => mkdirSync(fresh()),
  () => rmdirSync(found()),
  () => symlinkSync(`to ${random(100)}`, fresh()),
];

function operate(): void {
  try {
    OPERATIONS[random(OPERATIONS.length)]!();
  } catch (error) {
    if (!EXPECTED.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}

let next = Number(own);

const ONCE: ((path: string) => void)[] = [
  (path) => appendFileSync(path, 'once'),
  (path) => chmodSync(path, 0o640),
  (path) => unlinkSync(path),
  (path) => renameSync(path, `${path}.renamed`),
  (path) => linkSync(path, `${path}.linked`),
  (path) => truncateSync(path, 1),
  (path) => writeFileSync(`${path}.created`, text()),
];

/** Until there is none left. */
function changeOneForGood(): void {
  const path = pathInTree(join(tree, 'calm'), next);
  if (!existsSync(path)) return;
  ONCE[Math.floor(next / Number(count)) % ONCE.length]!(path);
  next += Number(count);
}

let isRunning = true;

function work(): void {
  if (!isRunning) return;
  changeOneForGood();
  for (const end = performance.now() + SLICE_MS; performance.now() < end; ) operate();
  setImmediate(work);
}

process.on('message', (message) => {
  if (message === 'stop') process.exit(0);
  isRunning = message === 'resume';
  if (isRunning) work();
  else process.send!('paused');
});
work();
