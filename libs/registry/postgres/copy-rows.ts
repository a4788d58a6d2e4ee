import type { Connection, PoolClient, Submittable } from 'pg';

const SIGNATURE = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1');
const CHUNK_BYTES = 64 * 1024;

/** What of pg's connection its types don't tell. */
interface CopyConnection {
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
}

/**
 * A COPY whose data is complete before it begins. pg calls these methods; after an error the server skips what is
 * still on its way, and the connection is good for the next query.
 */
class CopyQuery implements Submittable {
  readonly done: Promise<void>;
  readonly #text: string;
  readonly #chunks: readonly Buffer[];
  readonly #settled = Promise.withResolvers<void>();

  constructor(text: string, chunks: readonly Buffer[]) {
    this.#text = text;
    this.#chunks = chunks;
    this.done = this.#settled.promise;
  }

  submit(connection: Connection): void {
    connection.query(this.#text);
  }

  handleCopyInResponse(connection: CopyConnection): void {
    for (const chunk of this.#chunks) connection.sendCopyFromChunk(chunk);
    connection.endCopyFrom();
  }

  handleCommandComplete(): void {}

  handleReadyForQuery(): void {
    this.#settled.resolve();
  }

  handleError(error: unknown): void {
    this.#settled.reject(error);
  }
}

/**
 * Rows in Postgres' binary COPY format (documentation of COPY, "Binary Format"). They are gathered here and sent by
 * `end`, so they should be a few MiB at most.
 */
export class CopyRows {
  readonly #client: PoolClient;
  readonly #text: string;
  readonly #chunks: Buffer[] = [];
  #chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  #at = 0;

  constructor(client: PoolClient, table: string) {
    this.#client = client;
    this.#text = `copy ${table} from stdin (format binary)`;
    this.#put(SIGNATURE);
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#chunk.length) return;
    this.#close();
    if (bytes > this.#chunk.length) this.#chunk = Buffer.allocUnsafe(bytes);
  }

  #close(): void {
    if (this.#at > 0) this.#chunks.push(this.#chunk.subarray(0, this.#at));
    this.#chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    this.#at = 0;
  }

  #put(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#chunk.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  row(columns: number): this {
    this.#room(2);
    this.#at = this.#chunk.writeInt16BE(columns, this.#at);
    return this;
  }

  int2(value: number): this {
    this.#room(6);
    this.#chunk.writeInt32BE(2, this.#at);
    this.#at = this.#chunk.writeInt16BE(value, this.#at + 4);
    return this;
  }

  int4(value: number): this {
    this.#room(8);
    this.#chunk.writeInt32BE(4, this.#at);
    this.#at = this.#chunk.writeInt32BE(value, this.#at + 4);
    return this;
  }

  /** From 0 to 2^53 - 1. */
  int8(value: number): this {
    this.#room(12);
    this.#chunk.writeInt32BE(8, this.#at);
    this.#chunk.writeInt32BE(Math.floor(value / 2 ** 32), this.#at + 4);
    this.#at = this.#chunk.writeUInt32BE(value % 2 ** 32, this.#at + 8);
    return this;
  }

  bool(value: boolean): this {
    this.#room(5);
    this.#chunk.writeInt32BE(1, this.#at);
    this.#chunk[this.#at + 4] = value ? 1 : 0;
    this.#at += 5;
    return this;
  }

  bytes(value: Uint8Array | undefined): this {
    this.#room(4);
    this.#at = this.#chunk.writeInt32BE(value ? value.length : -1, this.#at);
    if (value) this.#put(value);
    return this;
  }

  /** A range of another buffer, without a view of it. */
  range(source: Buffer, start: number, length: number): this {
    this.#room(4 + length);
    this.#at = this.#chunk.writeInt32BE(length, this.#at);
    this.#at += source.copy(this.#chunk, this.#at, start, start + length);
    return this;
  }

  text(value: string): this {
    return this.bytes(Buffer.from(value));
  }

  /** Resolves when the rows are in the table, as part of the client's transaction. */
  async end(): Promise<void> {
    this.#room(2);
    this.#at = this.#chunk.writeInt16BE(-1, this.#at);
    this.#close();
    await this.#client.query(new CopyQuery(this.#text, this.#chunks)).done;
  }
}
