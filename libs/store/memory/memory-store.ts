import { TmError } from '../../model/errors.ts';
import { checkObjectName } from '../object-name.ts';
import { checkRange } from '../object-range.ts';
import type { CollectableStore, ObjectInfo } from '../port.ts';

/** A store for tests: nothing outlives the object. */
export class MemoryStore implements CollectableStore {
  readonly url = 'memory:';
  readonly #objects = new Map<string, Buffer>();

  async create(name: string, parts: readonly Uint8Array[]): Promise<'created' | 'existed'> {
    checkObjectName(name);
    const bytes = Buffer.concat(parts);
    const there = this.#objects.get(name);
    if (there === undefined) {
      this.#objects.set(name, bytes);
      return 'created';
    }
    if (there.equals(bytes)) return 'existed';
    throw new TmError('TM1210', name);
  }

  async read(name: string, range?: { offset: number; length: number }): Promise<Buffer> {
    checkObjectName(name);
    const bytes = this.#objects.get(name);
    if (bytes === undefined) throw new TmError('TM1205', name);
    const { offset, length } = checkRange(name, bytes.length, range);
    return Buffer.from(bytes.subarray(offset, offset + length));
  }

  async stat(name: string): Promise<ObjectInfo | undefined> {
    checkObjectName(name);
    const bytes = this.#objects.get(name);
    return bytes && { name, size: bytes.length };
  }

  async *list(prefix: string, after = ''): AsyncIterable<ObjectInfo> {
    const names = [...this.#objects.keys()].filter((name) => name.startsWith(prefix) && name > after).sort();
    for (const name of names) {
      const bytes = this.#objects.get(name);
      if (bytes) yield { name, size: bytes.length };
    }
  }

  async delete(name: string): Promise<void> {
    checkObjectName(name);
    this.#objects.delete(name);
  }

  async close(): Promise<void> {}
}
