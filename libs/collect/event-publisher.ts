import type { ChangeBatch, PieceHeader, Seal } from '../contracts/messages.ts';
import { blake3, DigestSum } from '../model/digests.ts';
import { type EntryRecord, RecordWriter } from '../model/records.ts';
import type { Transport } from '../transport/port.ts';

const MAX_RECORDS = 1000;
const MAX_BYTES = 384 * 1024;

/** Numbers, digests and publishes the batches of one backup on one shard, and at the end the seal. */
export class EventPublisher {
  readonly #transport: Transport;
  readonly #header: Omit<PieceHeader, 'batchNo'>;
  readonly #digests = new DigestSum();
  readonly #own = new RecordWriter();
  /** Bodies of workers that wait for more to fill a batch. */
  #bodies: Buffer[] = [];
  #records = 0;
  #bytes = 0;
  #batches = 0;

  constructor(transport: Transport, header: Omit<PieceHeader, 'batchNo'>) {
    this.#transport = transport;
    this.#header = header;
  }

  /** Records whose blocks are durable; they go out with others, at the latest with the seal. */
  async body(body: Buffer, count: number): Promise<void> {
    const isOver = this.#records + count > MAX_RECORDS || this.#bytes + body.length > MAX_BYTES;
    const full = isOver ? this.#take() : undefined;
    this.#bodies.push(body);
    this.#records += count;
    this.#bytes += body.length;
    if (full) await this.#publish(full.body, full.count);
  }

  /** Bodies one behind the other are a body. */
  #take(): { body: Buffer; count: number } | undefined {
    if (this.#records === 0) return undefined;
    const body = this.#bodies.length === 1 ? this.#bodies[0]! : Buffer.concat(this.#bodies);
    const count = this.#records;
    this.#bodies = [];
    this.#records = 0;
    this.#bytes = 0;
    return { body, count };
  }

  async #publish(body: Buffer, count: number): Promise<void> {
    const digest = blake3(body);
    this.#digests.add(digest);
    const header = { ...this.#header, batchNo: this.#batches++ };
    const batch: ChangeBatch = { type: 'batch', header, count, body, digest };
    await this.#transport.publish('change-events', [batch]);
  }

  async gone(entry: Pick<EntryRecord, 'dir' | 'name'>): Promise<void> {
    this.#own.gone(entry.dir, entry.name);
    await this.#spill(false);
  }

  async kept(entry: Pick<EntryRecord, 'dir' | 'name' | 'code'>): Promise<void> {
    this.#own.kept(entry.dir, entry.name, entry.code);
    await this.#spill(false);
  }

  async #spill(all: boolean): Promise<void> {
    const count = this.#own.count;
    if (count > 0 && (all || count >= MAX_RECORDS || this.#own.bytes >= MAX_BYTES))
      await this.#publish(this.#own.finish(), count);
  }

  async seal(seal: Pick<Seal, 'stateDigest' | 'totals' | 'readFrom' | 'readTo' | 'rootHint'>): Promise<void> {
    await this.#spill(true);
    const rest = this.#take();
    if (rest) await this.#publish(rest.body, rest.count);
    const header = { ...this.#header, batchNo: this.#batches };
    const batches = [this.#batches];
    await this.#transport.publish('change-events', [
      { ...seal, type: 'seal', header, batches, batchDigest: this.#digests.bytes() },
    ]);
  }
}
