import { type Context, withEngine } from '../context.ts';

export async function init(context: Context): Promise<number> {
  return withEngine(context, true, async (engine) => {
    const { store, home, storeRow, config } = engine;
    if (config.identityFile) await engine.secret(); // one that does not open the store is refused
    const identity = config.identityFile ?? home.identityFile;
    context.output.line(
      {
        type: 'summary',
        store: store.url,
        storeId: storeRow.storeId,
        home: home.path,
        identity,
      },
      () =>
        `Store ${store.url} is ready. Its key is ${identity}: keep a copy elsewhere too, without it nothing can be restored.`,
    );
    return 0;
  });
}
