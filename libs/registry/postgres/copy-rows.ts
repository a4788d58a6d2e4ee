import type { PoolClient } from 'pg';
import { from } from 'pg-copy-streams';

const SIGNATURE = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1');
const CHUNK_BYTES = 64 * 1024;

/** Rows in Postgres' binary COPY format (documentation of COPY, "Binary Format"); handed on in chunks. */
export class CopyRows {
  readonly #stream: NodeJS.WritableStream;
  #chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  #at = 0;
  #failure: unknown;

  constructor(client: PoolClient, table: string) {
    this.#stream = client.query(from(`copy ${table} from stdin (format binary)`));
    this.#stream.on('error', (error) => {
      this.#failure ??= error;
    });
    this.#put(SIGNATURE);
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#chunk.length) return;
    this.#flush();
    if (bytes > this.#chunk.length) this.#chunk = Buffer.allocUnsafe(bytes);
  }

  #flush(): void {
    if (this.#at === 0) return;
    this.#stream.write(this.#chunk.subarray(0, this.#at));
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

  int8(value: number): this {
    this.#room(12);
    this.#chunk.writeInt32BE(8, this.#at);
    this.#at = this.#chunk.writeBigInt64BE(BigInt(value), this.#at + 4);
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

  text(value: string): this {
    return this.bytes(Buffer.from(value));
  }

  async end(): Promise<void> {
    this.#room(2);
    this.#at = this.#chunk.writeInt16BE(-1, this.#at);
    this.#flush();
    if (this.#failure) throw this.#failure;
    await new Promise<void>((resolve, reject) => {
      this.#stream.on('finish', resolve);
      this.#stream.on('error', reject);
      this.#stream.end();
    });
  }
}
