import koffi from 'koffi';

/** A native function; pointers are byte arrays, or what another function gave as a pointer. */
export interface Native {
  (...args: unknown[]): number;
  /** On a thread of libuv's pool; the last argument is called with the result. Byte arrays have to stay as they are. */
  async(...args: unknown[]): void;
}

/**
 * Functions that this very process exports, by name; undefined when one of them is missing (a Node that is linked
 * with other libraries, or strips its symbols).
 */
export function nodeExports<Name extends string>(
  signatures: Readonly<Record<Name, readonly [result: string, ...args: string[]]>>,
): Record<Name, Native> | undefined {
  try {
    const lib = koffi.load(null);
    const found = Object.entries<readonly [string, ...string[]]>(signatures).map(
      ([name, [result, ...args]]) => [name, lib.func(name, result, args)],
    );
    return Object.fromEntries(found);
  } catch {
    return undefined;
  }
}
