/** What can't be started whole is closed again. */
export async function startOrClose<S extends { close(): Promise<void> }>(
  source: S,
  start: () => Promise<void>,
): Promise<S> {
  try {
    await start();
    return source;
  } catch (error) {
    await source.close();
    throw error;
  }
}
