import { frameBlockIds } from '../blocks/frame-blocks.ts';
import type { BlockIntake, SealedFrame } from '../blocks/intake.ts';

/** Of ids of one task that are remembered: a file of a TB has so many. */
const MAX_ASKED_BYTES = 32 * 1024 * 1024;

/** Blocks that one task was told to send. */
class Sending {
  readonly #settled = Promise.withResolvers<void>();
  /** Blocks that are not durable yet. */
  #left = 0;

  constructor() {
    this.#settled.promise.catch(() => {});
  }

  get durable(): Promise<void> {
    return this.#settled.promise;
  }

  expect(): void {
    this.#left++;
  }

  arrive(): void {
    if (--this.#left === 0) this.#settled.resolve();
  }

  fail(error: unknown): void {
    this.#settled.reject(error);
  }
}

/**
 * Keeps which blocks are on their way, so that two tasks that find one block send it once, and knows for each task
 * what has to be durable before its change events may name its blocks (1-architecture, promise 2).
 */
export class BlockLedger {
  readonly #intake: BlockIntake;
  /** By block id. Entries go as soon as the block is durable. */
  readonly #onTheWay = new Map<string, Sending>();
  readonly #waitsFor = new Map<number, Set<Promise<void>>>();
  /** Ids that each task has asked for, while they are not too many. */
  readonly #asked = new Map<number, { readonly ids: Buffer[]; bytes: number }>();
  newBytes = 0;
  storedBytes = 0;

  constructor(intake: BlockIntake) {
    this.#intake = intake;
  }

  #depend(task: number, durable: Promise<void>): void {
    const set = this.#waitsFor.get(task) ?? new Set();
    set.add(durable);
    this.#waitsFor.set(task, set);
  }

  /**
   * Which of the ids the task has to send. They count as on their way before the intake is asked: else a block that
   * becomes durable meanwhile would be sent twice.
   */
  async missing(task: number, ids: Buffer): Promise<Uint8Array> {
    const mine = new Sending();
    this.#note(task, ids);
    const count = ids.length / 32;
    const missing = new Uint8Array(count);
    const asked: { id: string; i: number }[] = [];
    for (let i = 0; i < count; i++) {
      const id = ids.toString('latin1', i * 32, i * 32 + 32);
      const sending = this.#onTheWay.get(id);
      if (sending === mine) continue; // twice in one question: sent once
      if (sending) this.#depend(task, sending.durable);
      else {
        mine.expect();
        this.#onTheWay.set(id, mine);
        asked.push({ id, i });
      }
    }
    if (asked.length === 0) return missing;
    const all = asked.length === count;
    const answer = await this.#intake.missing(all ? ids : idsOf(asked));
    asked.forEach(({ id, i }, n) => {
      missing[i] = answer[n]!;
      if (missing[i] === 0) this.#settle([id], (sending) => sending.arrive());
    });
    return missing;
  }

  #note(task: number, ids: Buffer): void {
    const asked = this.#asked.get(task) ?? { ids: [], bytes: 0 };
    this.#asked.set(task, asked);
    asked.bytes += ids.length;
    if (asked.bytes <= MAX_ASKED_BYTES) asked.ids.push(ids);
    else asked.ids.length = 0;
  }

  /** Ids of all blocks that the task's entries name, none where they are too many; they are forgotten then. */
  takeAsked(task: number): readonly Buffer[] {
    const { ids } = this.#asked.get(task) ?? { ids: [] };
    this.#asked.delete(task);
    return ids;
  }

  /** Resolves when more may be sent. */
  frames(task: number, frames: readonly SealedFrame[]): Promise<void> {
    const ids: string[] = [];
    for (const frame of frames) {
      this.newBytes += frame.plainLength;
      this.storedBytes += frame.bytes.length;
      ids.push(...frameBlockIds(frame.index));
    }
    const { accepted, durable } = this.#intake.put(frames);
    this.#depend(task, durable);
    durable.then(
      () => this.#settle(ids, (sending) => sending.arrive()),
      (error) => this.#settle(ids, (sending) => sending.fail(error)),
    );
    return accepted;
  }

  #settle(ids: readonly string[], how: (sending: Sending) => void): void {
    for (const id of ids) {
      const sending = this.#onTheWay.get(id);
      if (sending) how(sending);
      this.#onTheWay.delete(id);
    }
  }

  /** Resolves when all blocks that the task's entries name are durable; the task is forgotten then. */
  async durable(task: number): Promise<void> {
    const waits = this.#waitsFor.get(task);
    this.#waitsFor.delete(task);
    if (waits) await Promise.all(waits);
  }
}

const idsOf = (asked: readonly { readonly id: string }[]): Buffer =>
  Buffer.from(asked.map(({ id }) => id).join(''), 'latin1');
