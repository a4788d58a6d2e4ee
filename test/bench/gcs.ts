/**
 * What a slow bucket costs: a full backup into, and a restore from, the tests' scripted Google Cloud Storage server, with
 * and without a delay of each reply. From dist/, as `tools/build` makes it:
 * `node test/bench/gcs.ts [--rounds 1] [--files 60000] [--delay 80] [--base DIR] [--tree DIR] [--report FILE]`
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { stopEmbeddedPostgres } from '../../libs/registry/embedded/index.ts';
import type { Operation } from '../gcs/faults.ts';
import { ScriptedGcs } from '../gcs/scripted-gcs.ts';

const MAIN = join(import.meta.dirname, '../../dist/apps/cli/main.js');
const BEGIN = '<!-- made by npm run bench -- --gcs: begin -->';
const END = '<!-- made by npm run bench -- --gcs: end -->';
const OPERATIONS: readonly Operation[] = ['upload', 'read', 'stat', 'list'];
const { values } = parseArgs({
  options: {
    gcs: { type: 'boolean' },
    rounds: { type: 'string', default: '1' },
    files: { type: 'string', default: '60000' },
    delay: { type: 'string', default: '80' },
    base: { type: 'string', default: '/dev/shm/tidemark-bench-gcs' },
    tree: { type: 'string' },
    report: { type: 'string' },
  },
});
const path = (...names: string[]): string => join(values.base, ...names);

interface Measured {
  readonly seconds: number;
  readonly roundTrips: number;
  readonly peak: number;
  readonly calls: Readonly<Record<string, number>>;
  readonly bytes: number;
}

type Round = Readonly<Record<'full' | 'restore' | 'unchanged' | 'one file', Measured>>;

async function measured(
  gcs: ScriptedGcs,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<Measured> {
  gcs.resetCounts();
  const begun = performance.now();
  const child = spawn(process.execPath, ['--max-semi-space-size=4', MAIN, '--json', ...args], {
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const [status] = await once(child, 'close');
  if (status !== 0) throw new Error(`tidemark ${args.join(' ')}: ${status}`);
  const calls = Object.fromEntries(OPERATIONS.map((operation) => [operation, gcs.calls(operation)]));
  const { roundTrips, peak, traffic } = gcs;
  const seconds = (performance.now() - begun) / 1000;
  return { seconds, roundTrips, peak, calls, bytes: traffic.read + traffic.written };
}

/** A home and a bucket of their own; what is measured begins with a registry that runs. */
async function round(tree: string, delay: number): Promise<Round> {
  const gcs = await ScriptedGcs.start({ buckets: ['bench'], latency: delay });
  const home = path('home');
  const env = {
    ...process.env,
    TIDEMARK_HOME: home,
    TIDEMARK_STORE: 'gs://bench/place',
    TIDEMARK_GCS_ENDPOINT: gcs.url,
  };
  const target = path('target');
  mkdirSync(path('empty'), { recursive: true });
  try {
    await measured(gcs, ['backup', path('empty')], env);
    const full = await measured(gcs, ['backup', tree], env);
    const unchanged = await measured(gcs, ['backup', tree], env);
    const from = ['restore', 'latest', '--source', tree];
    const restore = await measured(gcs, [...from, '--to', target], env);
    same(tree, target);
    const one = await measured(gcs, [...from, 'odd/mtime-1960', '--to', path('one')], env);
    return { full, unchanged, restore, 'one file': one };
  } finally {
    await stopEmbeddedPostgres(home);
    for (const name of ['home', 'target', 'one']) rmSync(path(name), { recursive: true, force: true });
    await gcs.close();
  }
}

function same(a: string, b: string): void {
  const program = join(import.meta.dirname, '../cycle/treediff.py');
  const { status, stdout } = spawnSync('python3', [program, a, b], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`the restored tree is another one: ${stdout}`);
}

function table(delay: number, rounds: readonly (readonly [Round, Round])[]): string {
  const date = new Date().toISOString().slice(0, 10);
  const lines = [
    `${date}, ${cpus().length} cores, Linux ${release()}, ${rounds.length} rounds, delay ${delay} ms of each reply. Round trips: requests that began while none was in flight.`,
    '',
    '| operation | seconds without delay | with delay | ratio | round trips | most at once | uploads, reads, stats, lists | MB |',
    '|---|---|---|---|---|---|---|---|',
  ];
  for (const operation of ['full', 'unchanged', 'restore', 'one file'] as const) {
    const pairs = rounds.map(([fast, slow]) => [fast[operation], slow[operation]] as const);
    const of = (pick: (one: Measured) => number, i: 0 | 1) => median(pairs.map((pair) => pick(pair[i])));
    const ratio = median(pairs.map(([fast, slow]) => slow.seconds / fast.seconds));
    const calls = OPERATIONS.map((name) => of((one) => one.calls[name]!, 1)).join(', ');
    const seconds = [0, 1].map((i) => of((one) => one.seconds, i as 0 | 1).toFixed(2)).join(' | ');
    const [trips, peak, bytes] = [of((o) => o.roundTrips, 1), of((o) => o.peak, 1), of((o) => o.bytes, 1)];
    lines.push(
      `| ${operation} | ${seconds} | ${ratio.toFixed(2)} | ${trips} | ${peak} | ${calls} | ${(bytes / 1e6).toFixed(1)} |`,
    );
  }
  return lines.join('\n');
}

const median = (all: readonly number[]): number => all.toSorted((a, b) => a - b)[all.length >> 1]!;

function write(file: string, text: string): void {
  const before = readFileSync(file, 'utf8');
  const [from, to] = [before.indexOf(BEGIN) + BEGIN.length, before.indexOf(END)];
  if (to < from) throw new Error(`${file} has no place for the table`);
  writeFileSync(file, `${before.slice(0, from)}\n${text}\n${before.slice(to)}`);
}

mkdirSync(values.base, { recursive: true, mode: 0o711 });
try {
  const tree = values.tree ?? path('tree');
  if (!existsSync(tree)) {
    const env = { ...process.env, NFILES: values.files };
    const made = spawnSync('python3', [join(import.meta.dirname, 'make_tree.py'), tree], { env });
    if (made.status !== 0) throw new Error(String(made.stderr));
  }
  const delay = Number(values.delay);
  const rounds: [Round, Round][] = [];
  for (let n = 0; n < Number(values.rounds); n++)
    rounds.push([await round(tree, 0), await round(tree, delay)]);
  const text = table(delay, rounds);
  process.stdout.write(`${text}\n`);
  if (values.report) write(values.report, text);
} finally {
  rmSync(values.base, { recursive: true, force: true });
}
