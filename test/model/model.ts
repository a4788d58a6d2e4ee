import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import type { Line, Place, Result } from '../command.ts';
import { KEPT_FILE } from './edits.ts';
import { countOf, differences, ownFacts, type Snapshot, snapshot } from './snapshot.ts';

/** A backup that the command says is there. */
export interface Committed {
  readonly label: string;
  readonly kind: string;
  readonly baseline: string | null;
  readonly pinned: boolean;
  readonly tree: Snapshot;
}

/**
 * One source and what its backups have to be like. Each backup carries a tag with its number, so that one which was
 * killed on its way can be told from the others if it turns out to be committed.
 */
export class Model {
  readonly #place: Place;
  readonly source: string;
  /** What the tree was like when a backup was started, by its number. */
  readonly #taken = new Map<string, Snapshot>();
  readonly #finished = new Set<string>();
  /** As listed last, oldest first. */
  committed: Committed[] = [];
  #targets = 0;

  constructor(place: Place, name: string) {
    this.#place = place;
    this.source = place.path(name);
    mkdirSync(this.source);
    writeFileSync(`${this.source}/${KEPT_FILE}`, 'kept');
    for (const dir of ['first', 'first/second', 'third']) {
      mkdirSync(`${this.source}/${dir}`);
      for (let i = 1; i <= 5; i++) writeFileSync(`${this.source}/${dir}/${i}`, `${dir} ${i}`.repeat(i ** 5));
    }
  }

  newTarget = (): string => this.#place.path(`target${this.#targets++}`);

  /** Arguments of a backup of the tree as it is now. */
  take(kind: string | undefined): string[] {
    const number = String(this.#taken.size);
    this.#taken.set(number, snapshot(this.source));
    return ['backup', this.source, '--tag', `number=${number}`, ...(kind ? [`--${kind}`] : [])];
  }

  /** Checks a finished backup's account of itself against the tree and the backup before it. */
  async finish({ status, last, text }: Result): Promise<void> {
    if (status !== 0) throw new Error(`backup failed: ${text}`);
    const number = String(this.#taken.size - 1);
    const tree = this.#taken.get(number)!;
    const base = this.committed.at(-1)?.tree ?? new Map();
    this.#finished.add(number);
    const expected = {
      ...countOf(tree),
      added: [...tree.keys()].filter((path) => !base.has(path)).length,
      deleted: [...base.keys()].filter((path) => !tree.has(path)).length,
      problems: 0,
    };
    for (const [key, value] of Object.entries(expected)) {
      if (last[key] !== value) throw new Error(`${key} is ${last[key]} instead of ${value}: ${text}`);
    }
    const changed = [...tree].filter(
      ([path, one]) => base.has(path) && ownFacts(base.get(path)!) !== ownFacts(one),
    );
    const said = Number(last.changed) + Number(last.metadata);
    // Names of a file that was made anew (by a restore, say) are recorded with the inode that they share now.
    const relinked = [...tree].filter(([path, { inode }]) => inode !== base.get(path)?.inode);
    if (said < changed.length || (said > relinked.length && differences(base, tree).length === 0))
      throw new Error(`${said} changed instead of ${changed.length}: ${text}`);
    await this.list();
  }

  /** Lists the source's backups and checks that none is missing and none made up. */
  async list(): Promise<void> {
    const { status, lines, last, text } = await this.#place.run(['backups', this.source]);
    const isUnknown = status === 10 && last.code === 'TM1703' && this.#finished.size === 0;
    if (status !== 0 && !isUnknown) throw new Error(`backups failed: ${text}`);
    const found = lines.filter((line) => line.type === 'backup').map((line) => this.#toCommitted(line));
    const labels = new Set(found.map((one) => one.label));
    const lost = this.committed.filter((one) => !labels.has(one.label));
    if (lost.length > 0) throw new Error(`lost: ${lost.map((one) => one.label).join(' ')}`);
    for (const number of this.#finished) {
      if (!found.some((one) => one.tree === this.#taken.get(number)))
        throw new Error(`lost: backup ${number}`);
    }
    this.committed = found;
  }

  #toCommitted(line: Line): Committed {
    const tree = this.#taken.get(line.tags?.number ?? '');
    if (!tree) throw new Error(`nobody made ${JSON.stringify(line)}`);
    return {
      label: line.label!,
      kind: line.kind as string,
      baseline: line.baseline as string | null,
      pinned: line.pinned === true,
      tree,
    };
  }

  /** Takes over what an expiry left, after checking that it was allowed to. */
  async expired(keepLast: number): Promise<void> {
    const before = this.committed;
    const kept = new Set(before.slice(-keepLast).map((one) => one.label));
    for (const one of before) if (one.pinned) kept.add(one.label);
    for (const one of before) if (kept.has(one.label) && one.baseline) kept.add(one.baseline);
    const gone = before.filter((one) => !kept.has(one.label));
    this.committed = before.filter((one) => kept.has(one.label));
    for (const { tree } of gone)
      for (const [number, taken] of this.#taken) if (taken === tree) this.#finished.delete(number);
    await this.list();
    const left = this.committed.map((one) => one.label).sort();
    const expected = [...kept].sort();
    if (left.join() !== expected.join()) throw new Error(`kept ${left} instead of ${expected}`);
  }

  /** Restores a backup as a whole and compares; the target may hold anything before. */
  async restore({ label, tree }: Committed, target = this.newTarget(), ...more: string[]): Promise<void> {
    await this.#place.ok(['restore', label, '--source', this.source, '--to', target, ...more]);
    expectTree(`${label} restored with ${more.join(' ') || 'no options'}`, tree, snapshot(target));
    rmSync(target, { recursive: true, force: true });
  }
}

export function expectTree(what: string, expected: Snapshot, found: Snapshot): void {
  const wrong = differences(expected, found);
  if (wrong.length > 0) throw new Error(`${what}:\n${wrong.slice(0, 8).join('\n')}`);
}
