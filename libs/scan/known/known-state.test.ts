import {
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, it, onTestFinished } from 'vitest';
import { blake3, DigestSum } from '../../model/digests.ts';
import {
  baseName,
  compareEntries,
  fromSlashes,
  joinPath,
  parentPath,
  pathToDisplay,
  type TreePath,
} from '../../model/tree-path.ts';
import { S_IFDIR, S_IFREG } from '../../posix/index.ts';
import { STAT_WORDS } from '../stat-record.ts';
import type { StateCursor } from '../state-cursor.ts';
import { openState, peekState } from '../state-file.ts';
import type { StateIdentity } from '../state-format.ts';
import { StateWriter } from '../state-writer.ts';
import { logPath } from './change-log.ts';
import type { KnownChanges } from './known-changes.ts';
import { KnownState } from './known-state.ts';

/** Names whose order by bytes is easily got wrong, as siblings and as parts of paths. */
const NAMES = ['a', 'a!', 'ab', 'b', '\u{10000}', '\uffff'];
const INODES = [1, 2, 3, 2 ** 40 + 1];
const path = fc
  .array(fc.constantFrom(...NAMES), { minLength: 0, maxLength: 3 })
  .map((names) => fromSlashes(names.join('/')));

interface Entry {
  readonly ino: number;
  readonly size: number;
  readonly isDirectory: boolean;
  readonly flags: number;
}

const entry = fc.record<Entry>({
  ino: fc.constantFrom(...INODES),
  size: fc.nat(1000),
  isDirectory: fc.boolean(),
  flags: fc.constantFrom(0, 1, 8),
});
const edit = fc.record({
  path,
  entry: fc.option(entry, { nil: undefined, freq: 3 }),
  isVoided: fc.boolean(),
});
type Edit = typeof edit extends fc.Arbitrary<infer T> ? T : never;
const step = fc.record({
  edits: fc.uniqueArray(edit, { maxLength: 12, selector: (one) => one.path.toString('hex') }),
  end: fc.constantFrom(
    'commit',
    'keep',
    'fail',
    'fail before the seal',
    'die, failed',
    'die, committed',
    'die, log cut',
    'compact',
    'take in',
  ),
  cut: fc.double({ min: 0, max: 1, noNaN: true }),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

interface Known extends Entry {
  readonly path: TreePath;
  readonly hash: Buffer;
}
type Model = Map<string, Known>;

const keyOf = (at: TreePath): string => at.toString('latin1');

function statOf({ ino, size, isDirectory }: Entry): Int32Array {
  const stat = new Int32Array(STAT_WORDS);
  stat[0] = 1;
  stat[3] = (isDirectory ? S_IFDIR : S_IFREG) | 0o644;
  stat[4] = ino % 2 ** 32;
  stat[5] = Math.floor(ino / 2 ** 32);
  stat[6] = size;
  return stat;
}

const sorted = (model: Model): Known[] =>
  [...model.values()].sort((x, y) =>
    compareEntries(parentPath(x.path), baseName(x.path), parentPath(y.path), baseName(y.path)),
  );

const shown = ({ path: at, hash, ino, size, isDirectory, flags }: Known): unknown[] => [
  pathToDisplay(at),
  hash.toString('hex'),
  ino,
  isDirectory ? 'directory' : size,
  flags,
];

function* rest(cursor: StateCursor): Generator<unknown[]> {
  for (; !cursor.done; cursor.advance()) {
    const { words, statAt, dir, name, hash, flags } = cursor;
    const isDirectory = (words[statAt + 3]! & S_IFDIR) !== 0 && (words[statAt + 3]! & S_IFREG) === 0;
    const ino = words[statAt + 4]! + words[statAt + 5]! * 2 ** 32;
    yield [
      pathToDisplay(joinPath(dir, name)),
      hash.toString('hex'),
      ino,
      isDirectory ? 'directory' : words[statAt + 6],
      flags,
    ];
  }
}

/** A known state beside a plain map of what it has to know. */
class Bench {
  readonly home = mkdtempSync(join(tmpdir(), 'known-'));
  readonly file = join(this.home, 'state');
  model: Model = new Map();
  #seq = 1;
  #base: StateIdentity;
  #hashes = 0;
  known: KnownState;

  constructor() {
    const root = fromSlashes('');
    this.#set(this.model, root, { ino: 9, size: 0, isDirectory: true, flags: 0 });
    this.#base = this.#identity(this.model);
    this.#write();
    this.known = KnownState.open(this.file, this.#base)!;
  }

  #write(): void {
    const writer = new StateWriter(this.file, 1n);
    for (const one of sorted(this.model)) {
      writer.enter(parentPath(one.path));
      writer.append(baseName(one.path), statOf(one), 0, one.flags, one.hash);
    }
    writer.finish(this.#base);
    writer.commit();
  }

  #set(model: Model, at: TreePath, one: Entry): Buffer {
    const hash = blake3(Buffer.from(String(this.#hashes++)));
    model.set(keyOf(at), { ...one, path: at, hash });
    return hash;
  }

  #identity(model: Model): StateIdentity {
    const sum = new DigestSum();
    for (const { hash } of model.values()) sum.add(hash);
    const epoch = { generation: 1, counter: this.#seq };
    return { sourceUid: 'source', seq: this.#seq, epoch, stateDigest: sum.bytes() };
  }

  run({ edits, end, cut }: Step): void {
    if (end === 'compact' || end === 'take in') {
      this.#take(end);
      return;
    }
    const before = this.#base;
    const length = existsSync(logPath(this.file)) ? statSync(logPath(this.file)).size : 0;
    const [changes, after] = this.#edit(edits, end === 'keep');
    if (end === 'fail before the seal') changes.abandon();
    else if (end === 'keep') {
      changes.commit();
      this.model = after;
    } else {
      this.#seq++;
      const identity = this.#identity(after);
      changes.finish(identity);
      if (end !== 'fail' && end !== 'die, failed') {
        this.model = after;
        this.#base = identity;
      }
      this.#end(
        end,
        changes,
        { before, identity },
        length + (statSync(logPath(this.file)).size - length) * cut,
      );
    }
  }

  #end(
    end: Step['end'],
    changes: KnownChanges,
    { before, identity }: { before: StateIdentity; identity: StateIdentity },
    cutAt: number,
  ): void {
    if (end === 'fail') changes.abandon();
    else if (end === 'commit') changes.commit();
    else if (end === 'die, failed') this.#reopen(before);
    else if (end === 'die, committed') {
      changes.leave();
      expect(() => this.known.cursor()).toThrow('may or may not');
      this.#reopen(identity);
    } else this.#cut(Math.floor(cutAt), identity);
  }

  #edit(edits: readonly Edit[], isKept: boolean) {
    const cursor = this.known.cursor();
    const changes = this.known.changes(cursor);
    const after = new Map(this.model);
    for (const { path: at, entry: one, isVoided } of edits) {
      const before = this.model.get(keyOf(at));
      expect(cursor.seek(at)).toBe(before !== undefined);
      changes.enter(parentPath(at));
      if (one && isKept && before) {
        changes.appendKnown(baseName(at), statOf(one), 0, one.flags, cursor);
        after.set(keyOf(at), { ...one, path: at, hash: before.hash });
      } else if (one && !isKept) {
        const handle = changes.append(baseName(at), statOf(one), 0, one.flags | 1, before?.hash);
        if (isVoided) {
          changes.void(handle);
          after.delete(keyOf(at));
        } else
          changes.patch(handle, {
            hash: this.#set(after, at, { ...one, flags: one.flags & 8 }),
            trusted: true,
          });
      } else if (!one && before && !isKept && at.length > 0) {
        changes.gone(parentPath(at), baseName(at));
        after.delete(keyOf(at));
      }
    }
    return [changes, after] as const;
  }

  #reopen(identity: StateIdentity): void {
    this.known.close();
    this.known = KnownState.open(this.file, identity)!;
    expect(this.known, 'it is found again').toBeDefined();
  }

  /** Power failed: the log ends anywhere in the last segment, so that what it leads to is lost. */
  #cut(at: number, identity: StateIdentity): void {
    truncateSync(logPath(this.file), Math.min(at, statSync(logPath(this.file)).size - 1));
    expect(KnownState.open(this.file, identity)).toBeUndefined();
    expect(openState(this.file, identity)).toBeUndefined();
    this.#write();
    this.#reopen(identity);
  }

  #take(end: 'compact' | 'take in'): void {
    const identity = this.known.identity;
    if (end === 'take in') {
      openState(this.file, identity)!.close();
      expect(existsSync(logPath(this.file))).toBe(false);
    } else this.known.writeTo(this.file);
    this.#reopen(identity);
  }

  check(): void {
    const all = sorted(this.model).map(shown);
    const cursor = this.known.cursor();
    cursor.below(fromSlashes(''));
    expect([...rest(cursor)]).toEqual(all);
    this.#checkParts();
    this.#checkTotals();
    for (const ino of INODES) {
      const paths = this.known.pathsOf(BigInt(ino)).map(keyOf).sort();
      const expected = sorted(this.model).filter((one) => one.ino === ino);
      expect(paths).toEqual(expected.map((one) => keyOf(one.path)).sort());
    }
  }

  #checkParts(): void {
    const cursor = this.known.cursor();
    for (const { path: at } of this.model.values()) {
      expect(cursor.seek(at)).toBe(true);
      expect([...rest(cursor)]).toEqual([shown(this.model.get(keyOf(at))!)]);
      if (at.length === 0) continue;
      cursor.enter(at);
      const inIt = sorted(this.model).filter((one) => one.path.length > 0 && parentPath(one.path).equals(at));
      expect([...rest(cursor)]).toEqual(inIt.map(shown));
      cursor.below(at);
      const below = sorted(this.model).filter((one) => keyOf(one.path).startsWith(`${keyOf(at)}\0`));
      expect([...rest(cursor)]).toEqual(below.map(shown));
    }
  }

  #checkTotals(): void {
    const all = [...this.model.values()];
    const files = all.filter((one) => !one.isDirectory);
    expect(this.known.totals).toEqual({
      files: files.length,
      directories: all.length - files.length,
      others: 0,
      bytes: files.reduce((sum, one) => sum + one.size, 0),
    });
  }

  /** What an ordinary backup would compare with. What was only kept in memory is not in it. */
  checkFile(isExact: boolean): void {
    const peeked = peekState(this.file, this.known.identity, join(this.home, 'peeked'))!;
    const hashes = (cursor: StateCursor) => [...rest(cursor)].map((one) => one.slice(0, 2));
    const all = sorted(this.model).map(shown);
    if (isExact) expect([...rest(peeked)]).toEqual(all);
    else expect(hashes(peeked)).toEqual(all.map((one) => one.slice(0, 2)));
    peeked.close();
  }

  close(): void {
    this.known.close();
    rmSync(this.home, { recursive: true });
  }
}

it('knows what a map of all entries knows, over any backups, failures, crashes and compactions', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 8 }), (steps) => {
      const bench = new Bench();
      try {
        for (const one of steps) {
          bench.run(one);
          bench.check();
          bench.checkFile(one.end !== 'keep');
          if (one.end === 'keep') break; // what was kept is in memory only
        }
      } finally {
        bench.close();
      }
    }),
    { numRuns: 150 },
  );
});

it('is lost when a byte of its log is damaged, and nothing else is taken for it', () => {
  const bench = new Bench();
  onTestFinished(() => bench.close());
  const at = fromSlashes('a');
  const one = { path: at, entry: { ino: 1, size: 1, isDirectory: false, flags: 0 }, isVoided: false };
  bench.run({ edits: [one], end: 'commit', cut: 0 });
  const { identity } = bench.known;
  const log = readFileSync(logPath(bench.file));
  for (let i = 0; i < log.length; i++) {
    const damaged = Buffer.from(log);
    damaged[i]! ^= 1;
    writeFileSync(logPath(bench.file), damaged);
    expect(KnownState.open(bench.file, identity), `byte ${i}`).toBeUndefined();
  }
});

it('has a log of these bytes', () => {
  const bench = new Bench();
  onTestFinished(() => bench.close());
  const edits = ['a', 'b'].map((name) => ({
    path: fromSlashes(`a/${name}`),
    entry: { ino: 1, size: 1, isDirectory: false, flags: 0 },
    isVoided: false,
  }));
  bench.run({ edits, end: 'commit', cut: 0 });
  bench.run({ edits: [{ ...edits[0]!, entry: undefined }], end: 'commit', cut: 0 });
  expect(blake3(readFileSync(logPath(bench.file))).toString('hex')).toBe(
    'e505bc25f392397e4fd37965db90f34d0d8fe6fa70e94c2625b260b9b8505926',
  );
});

it('goes on where somebody else took its log into the state file', async () => {
  const bench = new Bench();
  onTestFinished(() => bench.close());
  const edit = (name: string) => ({
    path: fromSlashes(name),
    entry: { ino: 1, size: 1, isDirectory: false, flags: 0 },
    isVoided: false,
  });
  bench.run({ edits: [edit('a')], end: 'commit', cut: 0 });
  openState(bench.file, bench.known.identity)!.close();
  bench.run({ edits: [edit('b')], end: 'commit', cut: 0 });
  bench.check();
  bench.checkFile(true);
  await bench.known.compact();
  bench.check();
  bench.checkFile(true);
  expect(existsSync(logPath(bench.file))).toBe(false);
});
