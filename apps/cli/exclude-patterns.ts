import { readFileSync } from 'node:fs';
import { fromText, toText } from '../../libs/model/byte-text.ts';
import { TmError } from '../../libs/model/errors.ts';

export interface ExcludeOptions {
  readonly exclude?: string[];
  readonly excludeFrom?: string[];
}

/** Those of --exclude, then those of each --exclude-from file. */
export const patternsOf = ({ exclude = [], excludeFrom = [] }: ExcludeOptions): string[] => [
  ...exclude,
  ...excludeFrom.map(patternsIn),
];

function patternsIn(file: string): string {
  try {
    return toText(readFileSync(fromText(file)));
  } catch (error) {
    throw new TmError('TM1002', `--exclude-from ${file}: ${(error as Error).message}`);
  }
}
