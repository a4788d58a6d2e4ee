import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { fromSlashes, isWithin, toSlashes } from '../model/tree-path.ts';
import type { DirtySubtree, EventSource, SharedInode, WatchBatch, WatchOptions, WatchState } from './port.ts';

export type Start = (options: WatchOptions) => Promise<EventSource>;

const TOO_LATE_MS = 20_000;

const shown = (path: Buffer): string => toSlashes(path).toString('latin1');

/** What a source reported, gathered. Paths are relative, with slashes, one char for each byte. */
export class Reported {
  readonly entries = new Map<string, SharedInode | undefined>();
  readonly subtrees = new Map<string, DirtySubtree['reason']>();
  readonly states: WatchState[] = [];

  covers(path: string): boolean {
    if (this.entries.has(path)) return true;
    const bytes = fromSlashes(Buffer.from(path, 'latin1'));
    return [...this.subtrees.keys()].some((top) => isWithin(bytes, fromSlashes(Buffer.from(top, 'latin1'))));
  }
}

/** A tree that is watched, in a folder of its own. What is reported is taken in at once, unless `holding`. */
export class WatchRig {
  readonly home: string = mkdtempSync(join(tmpdir(), 'watch-'));
  readonly tree: string = join(this.home, 'tree');
  readonly #start: Start;
  reported: Reported = new Reported();
  source: EventSource | undefined;
  ended = false;
  /** Is told of each batch before anybody who waits. */
  onBatch: (batch: WatchBatch) => void = () => {};
  #readers: (() => void)[] = [];
  #reading: Promise<void> | undefined;
  #sentinels = 0;

  constructor(start: Start) {
    this.#start = start;
    mkdirSync(this.tree);
    onTestFinished(() => this.close());
  }

  path(name: string): Buffer {
    return Buffer.concat([Buffer.from(`${this.tree}/`), Buffer.from(name, 'latin1')]);
  }

  write(name: string, content = 'x'): void {
    writeFileSync(this.path(name), content);
  }

  mkdir(name: string): void {
    mkdirSync(this.path(name), { recursive: true });
  }

  async watch(options: Partial<WatchOptions> = {}): Promise<EventSource> {
    const rootFd = openSync(this.tree, 'r');
    try {
      this.source = await this.#start({ rootFd, rootPath: Buffer.from(this.tree), ...options });
    } finally {
      closeSync(rootFd);
    }
    return this.source;
  }

  /** Takes in all that comes; watches, unless that was done before. */
  async follow(options: Partial<WatchOptions> = {}): Promise<void> {
    const source = this.source ?? (await this.watch(options));
    this.#reading = this.#read(source);
    this.#reading.catch(() => {}); // `until` meets it
  }

  /** Waits until it is so, looking after each batch. `late` is called when it takes too long, to say what is wrong. */
  async until(isSo: (reported: Reported) => boolean, late: () => void = () => {}): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        try {
          late();
          reject(new Error('it did not come about'));
        } catch (error) {
          reject(error);
        }
      }, TOO_LATE_MS);
    });
    try {
      while (!isSo(this.reported)) {
        if (this.ended) throw new Error(`the source ended before: ${this.reported.states}`);
        const batch = new Promise<void>((resolve) => this.#readers.push(resolve));
        await Promise.race([batch, this.#reading, tooLate]);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Waits until all of these are reported as entries or below a subtree. */
  dirty(...paths: string[]): Promise<void> {
    return this.until((reported) => paths.every((path) => reported.covers(path)));
  }

  /** Everything that happened before was reported. */
  async settled(): Promise<void> {
    const name = `sentinel-${this.#sentinels++}`;
    this.write(name);
    await this.dirty(name);
  }

  /** All that was reported so far is out of the way: what comes is of now. */
  async forget(): Promise<void> {
    await this.settled();
    this.reported = new Reported();
  }

  async close(): Promise<void> {
    await this.source?.close();
    await this.#reading;
    rmSync(this.home, { recursive: true, force: true });
  }

  async #read(source: EventSource): Promise<void> {
    for (let batch = await source.next(); batch; batch = await source.next()) {
      const { reported } = this;
      this.onBatch(batch);
      for (const { path, shared } of batch.entries) reported.entries.set(shown(path), shared?.[0]);
      for (const { path, reason } of batch.subtrees) reported.subtrees.set(shown(path), reason);
      reported.states.push(...batch.states);
      this.#wake();
    }
    this.ended = true;
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#readers.splice(0)) wake();
  }
}

/** A tmpfs at `path`, gone after the test. */
export function mountTmpfs(path: string): { umount(): void } {
  execFileSync('/bin/mount', ['-t', 'tmpfs', 'watch-test', path]);
  let isMounted = true;
  const umount = (): void => {
    // Who looks into it at this moment keeps it busy.
    while (isMounted) isMounted = spawnSync('/bin/umount', [path]).status === 32;
  };
  onTestFinished(() => {
    if (isMounted) execFileSync('/bin/umount', ['-l', path]);
    isMounted = false;
  });
  return { umount };
}
