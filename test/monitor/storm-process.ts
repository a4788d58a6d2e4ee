import {
  appendFileSync,
  chmodSync,
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

/**
 * `node storm-process.ts ROOT SEED`, forked: changes a tree at random, as fast as it can, until it is told to 'pause'
 * (answers 'paused'), 'resume' or 'stop'. What others of its kind took away meanwhile is no error.
 */
const [root, seed] = process.argv.slice(2) as [string, string];
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

let isRunning = true;

function work(): void {
  if (!isRunning) return;
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
