/** What is kept of an object. Names are slash-separated ASCII: letters, digits, '-', '_', '.'. */
export interface ObjectInfo {
  readonly name: string;
  readonly size: number;
}

/**
 * Immutable objects. What `create` has resolved for is durable and visible to every reader. Adapters don't retry:
 * errors are TmErrors (TM12xx) whose `spec.retry` says whether a retry may help. Writers hold this port: it can't delete.
 */
export interface Store {
  /** For messages: never holds a secret. */
  readonly url: string;
  /**
   * Stores the concatenation of `parts` under a name that must not exist. 'existed': there is an object with
   * these very bytes already (an own attempt whose reply was lost). Throws TM1210 where other bytes are there.
   * The buffers belong to the store until it resolves and are not changed.
   */
  create(name: string, parts: readonly Uint8Array[]): Promise<'created' | 'existed'>;
  /** The whole object, or `length` bytes from `offset`. Throws TM1205 (missing), TM1206 (shorter than asked). */
  read(name: string, range?: { offset: number; length: number }): Promise<Buffer>;
  /**
   * Path of the file that holds the object where objects lie as files on this host, for who reads many of them in threads
   * of his own; whether it is there is not said. What is odd about it, `read` tells.
   */
  fileOf?(name: string): string | undefined;
  stat(name: string): Promise<ObjectInfo | undefined>;
  /** Objects whose names begin with `prefix`, ascending by name's bytes, from the first one after `after`. */
  list(prefix: string, after?: string): AsyncIterable<ObjectInfo>;
  close(): Promise<void>;
}

/** The only credential that can delete; collection holds it. Deleting what is not there is no error. */
export interface CollectableStore extends Store {
  delete(name: string): Promise<void>;
}
