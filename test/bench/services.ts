/**
 * `npm run bench -- --services [-n ROUNDS] [--base DIR] [--report FILE.md] [--out FILE.json] [--profiles DIR] [--no-restore]`
 *
 * Backs the bench's tree up through one process of each service, real Kafka and Postgres, all on tmpfs, beside the limits
 * of the machine in the same minutes. Each round has a stack of its own, warmed up by backups of another folder; the
 * tree's first full, an unchanged differential and one after about 1 % of change are asked for as jobs. In the first
 * round the changed tree is restored from the store with an identity file alone, and compared exactly.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { kafkaMissing } from '../services/kafka.ts';
import { isMissed, ratiosOf, tables, writeReport } from './services/report.ts';
import { run } from './services/restored.ts';
import { measureRound, type Round } from './services/round.ts';

const MAKE_TREE = join(import.meta.dirname, 'make_tree.py');

const { values: options } = parseArgs({
  options: {
    services: { type: 'boolean' },
    rounds: { type: 'string', short: 'n', default: '3' },
    base: { type: 'string', default: '/dev/shm/tidemark-bench-services' },
    report: { type: 'string' },
    out: { type: 'string' },
    profiles: { type: 'string' },
    'no-restore': { type: 'boolean', default: false },
  },
});

const say = (text: string) => process.stderr.write(`${text}\n`);

async function measure(base: string): Promise<Round[]> {
  const pristine = join(base, 'pristine');
  run('python3', MAKE_TREE, pristine);
  const rounds: Round[] = [];
  for (let n = 0; n < Number(options.rounds); n++) {
    const folder = join(base, String(n));
    mkdirSync(folder, { mode: 0o711 });
    const compare = n === 0 && !options['no-restore'];
    const profiles = options.profiles && resolve(options.profiles);
    const round = await measureRound({ base: folder, pristine, compare, profiles });
    rmSync(folder, { recursive: true });
    rounds.push(round);
    const ratio = (name: 'full' | 'unchanged' | 'changed') => ratiosOf([round], name)[0]!.toFixed(2);
    const { full, unchanged, changed } = round.operations;
    say(
      `round ${n + 1}: full ${full.wall.toFixed(2)} s (${ratio('full')}), unchanged ${unchanged.wall.toFixed(2)} s, changed ${changed.wall.toFixed(2)} s`,
    );
  }
  return rounds;
}

const missing = kafkaMissing();
if (missing) {
  say(`the bench of the services ${missing}`);
  process.exit(1);
}
const load = loadavg()[0]!;
mkdirSync(options.base, { mode: 0o711 });
try {
  const rounds = await measure(options.base);
  const text = tables(rounds, { load, compared: !options['no-restore'] });
  process.stdout.write(`${text}\n`);
  if (options.out) writeFileSync(options.out, JSON.stringify(rounds, null, 1));
  if (options.report) writeReport(options.report, text);
  if (isMissed(rounds)) {
    say('the goal of a full backup was missed');
    process.exitCode = 1;
  }
} finally {
  rmSync(options.base, { recursive: true, force: true });
}
