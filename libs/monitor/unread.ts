import type { TreePath } from '../model/tree-path.ts';
import type { Clock } from './clock.ts';

const FIRST_MS = 60_000;
const LAST_MS = 3_600_000;
const MAX_PATHS = 1000;

/**
 * Paths that could not be read, a lock or lease perhaps, whose end nobody tells: they are looked at again, later and
 * later. With more than 1,000 of them some wait for an event or the next look at the whole tree.
 */
export class Unread {
  readonly #clock: Clock;
  readonly #onDue: (paths: readonly TreePath[]) => void;
  #paths = new Map<string, TreePath>();
  #before = new Set<string>();
  #delay = FIRST_MS;
  #stop: (() => void) | undefined;

  constructor(clock: Clock, onDue: (paths: readonly TreePath[]) => void) {
    this.#clock = clock;
    this.#onDue = onDue;
  }

  add(path: TreePath): void {
    if (this.#paths.size >= MAX_PATHS) return;
    const key = path.toString('latin1');
    if (!this.#before.has(key)) this.#delay = FIRST_MS;
    this.#paths.set(key, path);
    this.#stop ??= this.#clock.after(this.#delay, () => this.#due());
  }

  close(): void {
    this.#stop?.();
  }

  #due(): void {
    const paths = [...this.#paths.values()];
    this.#before = new Set(this.#paths.keys());
    this.#paths = new Map();
    this.#stop = undefined;
    this.#delay = Math.min(this.#delay * 2, LAST_MS);
    this.#onDue(paths);
  }
}
