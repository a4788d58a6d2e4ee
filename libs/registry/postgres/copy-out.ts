import type { Duplex } from 'node:stream';
import pg, { type Connection, type Submittable } from 'pg';
import { TmError } from '../../model/errors.ts';
import { type BinaryRow, BinaryRows } from './binary-rows.ts';

const PAGE_BYTES = 256 * 1024;
/** What is read and thrown away when a loop is left early; of more, the connection is given up instead. */
const DRAIN_BYTES = 4 * 1024 * 1024;

type Value = number | string | Buffer | readonly number[];

/** A value as SQL text: COPY takes no parameters. */
function literal(value: Value): string {
  if (typeof value === 'string') return pg.escapeLiteral(value);
  if (Buffer.isBuffer(value)) return `decode('${value.toString('hex')}', 'hex')`;
  if (typeof value !== 'number') return `array[${value.map(literal).join(',')}]::bigint[]`;
  if (!Number.isSafeInteger(value)) throw new TypeError(`${value} is no whole number`);
  return `(${value})`;
}

const inlined = (text: string, values: readonly Value[]): string =>
  text.replace(/\$(\d+)/g, (_, number) => literal(values[Number(number) - 1]!));

/**
 * A query whose rows come by a binary COPY. pg calls the `handle` methods. At most one page is held; while it waits to
 * be taken, nothing more is read from the connection, and the server waits too.
 */
export class CopyOut implements Submittable {
  readonly #text: string;
  readonly #rows = new BinaryRows();
  #stream: Duplex | undefined;
  #state: 'running' | 'left' | 'ended' = 'running';
  #error: unknown;
  #drained = 0;
  /** How much of the answer makes a page; a row that is larger takes more. */
  #wanted = PAGE_BYTES;
  #changed = Promise.withResolvers<void>();

  constructor(text: string, values: readonly Value[]) {
    this.#text = `copy (${inlined(text, values)}) to stdout (format binary)`;
  }

  submit(connection: Connection): void {
    this.#stream = connection.stream;
    connection.query(this.#text);
  }

  handleCopyData({ chunk }: { readonly chunk: Buffer }): void {
    if (this.#state === 'left') {
      this.#drained += chunk.length;
      if (this.#drained > DRAIN_BYTES) this.#changed.resolve();
      return;
    }
    this.#rows.push(chunk); // pg uses the chunk's memory again
    if (this.#rows.bytes < this.#wanted) return;
    this.#stream?.pause();
    this.#changed.resolve();
  }

  handleCommandComplete(): void {}

  handleReadyForQuery(): void {
    this.#end();
  }

  handleError(error: unknown): void {
    this.#error = error;
    this.#end();
  }

  #end(): void {
    this.#state = 'ended';
    this.#stream?.resume();
    this.#changed.resolve();
  }

  /** Lets the answer go on until this much has come, or the end. */
  async #more(wanted: number): Promise<void> {
    this.#wanted = wanted;
    while (this.#state === 'running' && this.#rows.bytes < wanted) {
      this.#changed = Promise.withResolvers();
      this.#stream?.resume();
      await this.#changed.promise;
    }
  }

  /** The next rows; undefined after the last ones. Throws what the server says, TM1303 where the answer is cut short. */
  async page<T>(read: (row: BinaryRow) => T): Promise<T[] | undefined> {
    for (let wanted = PAGE_BYTES; ; wanted = this.#rows.bytes + PAGE_BYTES) {
      await this.#more(wanted);
      if (this.#error !== undefined) throw this.#error;
      const ended = this.#state === 'ended';
      const rows = this.#rows.take(read);
      if (rows.length > 0) return rows;
      if (!ended) continue;
      if (!this.#rows.complete || this.#rows.bytes > 0)
        throw new TmError('TM1303', 'the answer to a COPY was cut short');
      return undefined;
    }
  }

  /** Ends it wherever it is. False when the connection is not to be used again: too much is on its way. */
  async leave(): Promise<boolean> {
    if (this.#state === 'ended') return true;
    this.#state = 'left';
    this.#changed = Promise.withResolvers();
    this.#stream?.resume();
    await this.#changed.promise;
    return (this.#state as string) === 'ended';
  }
}
