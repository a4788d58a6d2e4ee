import ignore, { type Ignore } from 'ignore';
import { toText } from '../model/byte-text.ts';

/** Paths after which the matcher is made anew: it remembers every path that it was asked about. */
const PATHS_REMEMBERED = 4096;
const OPTIONS = { ignoreCase: false };

/**
 * Patterns in gitignore's language (gitignore(5)), relative to the source's root; the last one that matches decides.
 * Case matters. One string or buffer may hold many lines. Paths: slashes between names, by `toText`.
 */
export class ExcludeRules {
  readonly #patterns: readonly string[];
  /** Of ignore files from the root on down, each line as a pattern relative to the root. */
  readonly #fromFiles: readonly string[];
  readonly #rules = ignore(OPTIONS);
  #matcher: Ignore = this.#rules;
  #asked = 0;
  readonly isEmpty: boolean;

  constructor(patterns: readonly (string | Buffer)[] = [], fromFiles: readonly string[] = []) {
    this.#patterns = patterns.map((pattern) => (typeof pattern === 'string' ? pattern : toText(pattern)));
    this.#fromFiles = fromFiles;
    this.isEmpty = patterns.length + fromFiles.length === 0;
    this.#rules.add(fromFiles);
    for (const pattern of this.#patterns) this.#rules.add(pattern);
  }

  /**
   * These rules and those of an ignore file, which hold for `directory` and below. Files further down have the last
   * word among files; what the command line says has the last word of all.
   */
  within(directory: string, file: Buffer): ExcludeRules {
    const lines = toText(file).split(/\r?\n/).map(withoutSpaces).filter(isPattern);
    const patterns = lines.map((line) => relativeToRoot(directory, line));
    return new ExcludeRules(this.#patterns, [...this.#fromFiles, ...patterns]);
  }

  /** Asked from the top down: what is below an excluded one isn't asked. */
  excludes(path: string, isDirectory: boolean): boolean {
    return this.#match(path, isDirectory).ignored;
  }

  /** A pattern with ! takes it back in. */
  includes(path: string, isDirectory: boolean): boolean {
    return this.#match(path, isDirectory).unignored;
  }

  #match(path: string, isDirectory: boolean): { ignored: boolean; unignored: boolean } {
    if (this.#asked++ % PATHS_REMEMBERED === 0) this.#matcher = ignore(OPTIONS).add(this.#rules);
    return this.#matcher.test(isDirectory ? `${path}/` : path);
  }
}

const withoutSpaces = (line: string): string => line.replace(/(?<!\\) +$/, '');
const isPattern = (line: string): boolean => line !== '' && line !== '!' && !line.startsWith('#');

/** A pattern without a slash, but for the last character, holds at any depth. */
function relativeToRoot(directory: string, line: string): string {
  if (directory === '') return line;
  const isNegated = line.startsWith('!');
  const pattern = isNegated ? line.slice(1) : line;
  const isAnchored = pattern.slice(0, -1).includes('/');
  const below = isAnchored ? pattern.replace(/^\//, '') : `**/${pattern}`;
  return `${isNegated ? '!' : ''}/${directory.replace(/[\\*?[\] ]/g, '\\$&')}/${below}`;
}
