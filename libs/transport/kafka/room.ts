import { TmError } from '../../model/errors.ts';

/** Bounds what is on its way, in messages and bytes; whoever comes first goes first. */
export class Room {
  readonly #messages: number;
  readonly #bytes: number;
  #usedMessages = 0;
  #usedBytes = 0;
  #closed = false;
  readonly #waiting: { bytes: number; enter: () => void; refuse: (error: TmError) => void }[] = [];

  constructor(messages: number, bytes: number) {
    this.#messages = messages;
    this.#bytes = bytes;
  }

  /** Resolves when there is room, for something larger than all of it once it is empty. TM1508 once closed. */
  async enter(bytes: number): Promise<void> {
    if (this.#closed) throw new TmError('TM1508', 'the stream is closed');
    if (this.#waiting.length === 0 && this.#fits(bytes)) return this.#take(bytes);
    await new Promise<void>((enter, refuse) => this.#waiting.push({ bytes, enter, refuse }));
  }

  #fits(bytes: number): boolean {
    if (this.#usedMessages === 0) return true;
    return this.#usedMessages < this.#messages && this.#usedBytes + bytes <= this.#bytes;
  }

  #take(bytes: number): void {
    this.#usedMessages++;
    this.#usedBytes += bytes;
  }

  leave(bytes: number): void {
    this.#usedMessages--;
    this.#usedBytes -= bytes;
    while (this.#waiting.length > 0 && this.#fits(this.#waiting[0]!.bytes)) {
      const next = this.#waiting.shift()!;
      this.#take(next.bytes);
      next.enter();
    }
  }

  /** Those who wait are refused; those inside may stay. */
  close(): void {
    this.#closed = true;
    for (const { refuse } of this.#waiting.splice(0)) refuse(new TmError('TM1508', 'the stream is closed'));
  }
}
