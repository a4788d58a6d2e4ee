import ignore, { type Ignore } from 'ignore';
import { toText } from '../model/byte-text.ts';

/** Paths after which the matcher is made anew: it remembers every path that it was asked about. */
const PATHS_REMEMBERED = 4096;
const OPTIONS = { ignoreCase: false };

/**
 * Patterns in gitignore's language (gitignore(5)), relative to the source's root; the last one that matches decides.
 * Case matters. One string or buffer may hold many lines.
 */
export class ExcludeRules {
  readonly #rules = ignore(OPTIONS);
  #matcher: Ignore = this.#rules;
  #asked = 0;
  readonly isEmpty: boolean;

  constructor(patterns: readonly (string | Buffer)[] = []) {
    this.isEmpty = patterns.length === 0;
    for (const pattern of patterns) this.#rules.add(typeof pattern === 'string' ? pattern : toText(pattern));
  }

  /** `path`: slashes between names, by `toText`. Asked from the top down: what is below an excluded one isn't asked. */
  excludes(path: string, isDirectory: boolean): boolean {
    if (this.#asked++ % PATHS_REMEMBERED === 0) this.#matcher = ignore(OPTIONS).add(this.#rules);
    return this.#matcher.ignores(isDirectory ? `${path}/` : path);
  }
}
