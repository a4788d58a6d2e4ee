import type { ChangeBatch, ChangeMessage, PieceHeader, Seal } from '../contracts/messages.ts';
import { type Body, BodyWriter, fitsMessage } from '../contracts/wire/body-writer.ts';
import { blake3, DigestSum } from '../model/digests.ts';
import type { EntryRecord } from '../model/records.ts';
import type { Transport } from '../transport/port.ts';

/** Numbers, digests and publishes the batches of one backup, to its shards in turn, and at the end the seal. */
export class EventPublisher {
  readonly #transport: Pick<Transport, 'publish'>;
  readonly #header: Omit<PieceHeader, 'shard' | 'batchNo'>;
  readonly #digests = new DigestSum();
  readonly #own = new BodyWriter();
  /** Bodies of workers that wait for more to fill a batch. */
  #bodies: Body[] = [];
  #waiting = { count: 0, bytes: 0, size: 0 };
  /** Batches of each shard. */
  readonly #batches: number[];
  #turn = 0;

  constructor(
    transport: Pick<Transport, 'publish'>,
    header: Omit<PieceHeader, 'shard' | 'batchNo'>,
    shards = 1,
  ) {
    this.#transport = transport;
    this.#header = header;
    this.#batches = Array.from({ length: shards }, () => 0);
  }

  /** Records whose blocks are durable; they go out with others, at the latest with the seal. */
  async body(body: Body): Promise<void> {
    const { count, bytes, size } = this.#waiting;
    const fits = fitsMessage(count + body.count, bytes + body.bytes.length, size + body.size);
    const full = fits ? undefined : this.#take();
    this.#bodies.push(body);
    this.#waiting = {
      count: this.#waiting.count + body.count,
      bytes: this.#waiting.bytes + body.bytes.length,
      size: this.#waiting.size + body.size,
    };
    await this.#publish(this.#batchesOf(full));
  }

  /** Bodies one behind the other are a body. */
  #take(): Body | undefined {
    if (this.#bodies.length === 0) return undefined;
    const bytes =
      this.#bodies.length === 1
        ? this.#bodies[0]!.bytes
        : Buffer.concat(this.#bodies.map((one) => one.bytes));
    const body = { ...this.#waiting, bytes };
    this.#bodies = [];
    this.#waiting = { count: 0, bytes: 0, size: 0 };
    return body;
  }

  #batchesOf(...bodies: readonly (Body | undefined)[]): ChangeBatch[] {
    return bodies.flatMap((some) => (some ? [this.#batchOf(some)] : []));
  }

  #batchOf({ bytes, count }: Body): ChangeBatch {
    const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const digest = blake3(body);
    this.#digests.add(digest);
    const shard = this.#turn++ % this.#batches.length;
    const header = { ...this.#header, shard, batchNo: this.#batches[shard]!++ };
    return { type: 'batch', header, count, body, digest };
  }

  async #publish(messages: readonly ChangeMessage[]): Promise<void> {
    if (messages.length > 0) await this.#transport.publish('change-events', messages);
  }

  async gone(entry: Pick<EntryRecord, 'dir' | 'name'>): Promise<void> {
    await this.#publish(this.#batchesOf(this.#own.gone(entry.dir, entry.name)));
  }

  async kept(entry: Pick<EntryRecord, 'dir' | 'name' | 'code'>): Promise<void> {
    await this.#publish(this.#batchesOf(this.#own.kept(entry.dir, entry.name, entry.code)));
  }

  /** With the last batches: who gets all at once has less to do. */
  async seal(
    seal: Pick<Seal, 'stateDigest' | 'totals' | 'readFrom' | 'readTo' | 'rootHint' | 'gaps'>,
  ): Promise<void> {
    const last = this.#batchesOf(this.#own.finish(), this.#take());
    const header = { ...this.#header, shard: 0, batchNo: this.#batches[0]! };
    const batches = [...this.#batches];
    await this.#publish([
      ...last,
      { ...seal, type: 'seal', header, batches, batchDigest: this.#digests.bytes() },
    ]);
  }
}
