/**
 * Resolves when the set is empty. Its members leave it as they settle, which takes a flush after they entered; they may
 * all be gone before the flush is over.
 */
export async function untilSettled(
  settling: ReadonlySet<Promise<void>>,
  flush: () => Promise<void>,
): Promise<void> {
  while (settling.size > 0) {
    const some = [...settling];
    await flush();
    await Promise.race(some);
  }
}
