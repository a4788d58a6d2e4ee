import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import type { Operation, Round } from './round.ts';

const BEGIN = '<!-- made by npm run bench -- --services: begin -->';
const END = '<!-- made by npm run bench -- --services: end -->';

const NAMES = ['full', 'unchanged', 'changed'] as const;
type Name = (typeof NAMES)[number];
const LIMITS = {
  full: { limit: 'tar', words: 'tar \\| zstd -1 -T2', goal: 5 },
  unchanged: { limit: 'find', words: 'find with stat', goal: undefined },
  changed: { limit: 'find', words: 'find with stat', goal: undefined },
} as const;

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
}

const spread = (values: readonly number[]): string =>
  `${median(values).toFixed(2)} (${Math.min(...values).toFixed(2)}-${Math.max(...values).toFixed(2)})`;
const row = (...cells: (string | number)[]): string => `| ${cells.join(' | ')} |`;
const cpuOf = ({ usage }: Operation): number => Object.values(usage).reduce((sum, { cpu }) => sum + cpu, 0);

/** By round: how often a backup takes its limit's time. */
export const ratiosOf = (rounds: readonly Round[], name: Name): number[] =>
  rounds.map(({ operations, limits }) => operations[name].wall / limits[LIMITS[name].limit].wall);

export const isMissed = (rounds: readonly Round[]): boolean =>
  median(ratiosOf(rounds, 'full')) > LIMITS.full.goal;

function timeTable(rounds: readonly Round[]): string[] {
  const rows = NAMES.map((name) => {
    const { limit, words, goal } = LIMITS[name];
    const operations = rounds.map((round) => round.operations[name]);
    const limits = rounds.map((round) => round.limits[limit]);
    const cpuRatio = median(operations.map((one, i) => cpuOf(one) / limits[i]!.cpu));
    const ratio = median(ratiosOf(rounds, name));
    const missed = goal !== undefined && ratio > goal ? ' **missed**' : '';
    return row(
      name,
      spread(operations.map(({ wall }) => wall)),
      median(operations.map(cpuOf)).toFixed(2),
      `${words}: ${spread(limits.map(({ wall }) => wall))}, CPU ${median(limits.map(({ cpu }) => cpu)).toFixed(2)}`,
      `${ratio.toFixed(2)}${missed}`,
      goal ?? '',
      cpuRatio.toFixed(2),
    );
  });
  return [
    row('operation', 'seconds', 'CPU s', 'limit', 'ratio', 'goal', 'ratio of CPU'),
    '|---|---|---|---|---|---|---|',
    ...rows,
  ];
}

function topicTable(rounds: readonly Round[]): string[] {
  const rows = NAMES.flatMap((name) =>
    Object.keys(rounds[0]!.operations[name].topics).map((topic) => {
      const of = (what: 'messages' | 'bytes' | 'storedBytes', perEntry: boolean) =>
        median(
          rounds.map(({ operations }) => {
            const { topics, changes } = operations[name];
            return topics[topic]![what] / (perEntry ? Math.max(changes, 1) : 1);
          }),
        );
      return row(
        name,
        median(rounds.map(({ operations }) => operations[name].changes)),
        topic,
        of('messages', false),
        of('messages', true).toFixed(5),
        of('bytes', true).toFixed(0),
        of('storedBytes', true).toFixed(0),
      );
    }),
  );
  return [
    row(
      'operation',
      'entries published',
      'topic',
      'messages',
      'messages per entry',
      'bytes per entry',
      'bytes per entry in the log (zstd)',
    ),
    '|---|---|---|---|---|---|---|',
    ...rows,
  ];
}

function processTable(rounds: readonly Round[]): string[] {
  const names = Object.keys(rounds[0]!.operations.full.usage);
  const rows = names.map((process) => {
    const cells = NAMES.flatMap((name) => {
      const usages = rounds.map(({ operations }) => operations[name].usage[process]!);
      const peak = Math.max(...usages.map(({ peakMb }) => peakMb));
      return [median(usages.map(({ cpu }) => cpu)).toFixed(2), peak.toFixed(0)];
    });
    return row(process, ...cells);
  });
  return [
    row('process', ...NAMES.flatMap((name) => [`${name}: CPU s`, 'peak MB'])),
    '|---|---|---|---|---|---|---|',
    ...rows,
  ];
}

export interface Machine {
  /** Of the minute before the first round. */
  readonly load: number;
  readonly compared: boolean;
}

export function tables(rounds: readonly Round[], { load, compared }: Machine): string {
  const date = new Date().toISOString().slice(0, 10);
  const busy = load > 0.5 ? ' **The machine was busy with other work: only ratios say something.**' : '';
  const exact = compared
    ? ' The changed tree, restored from the store and an identity file alone, was exact.'
    : '';
  const head = `${date}, ${cpus().length} cores, Linux ${release()}, tmpfs, load before ${load.toFixed(1)}, ${rounds.length} rounds; medians (lowest-highest), ratios by round.${busy}${exact}`;
  return [head, timeTable(rounds), topicTable(rounds), processTable(rounds)]
    .map((part) => (Array.isArray(part) ? part.join('\n') : part))
    .join('\n\n');
}

export function writeReport(file: string, text: string): void {
  const old = readFileSync(file, 'utf8');
  const [begin, end] = [old.indexOf(BEGIN), old.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`${file} has no place for the tables`);
  writeFileSync(file, `${old.slice(0, begin + BEGIN.length)}\n${text}\n${old.slice(end)}`);
}
