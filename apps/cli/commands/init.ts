import { type Context, withEngine } from '../context.ts';

export async function init(context: Context): Promise<number> {
  return withEngine(context, true, async (engine) => {
    const { store, home, storeRow } = engine;
    context.output.line(
      {
        type: 'summary',
        store: store.url,
        storeId: storeRow.storeId,
        home: home.path,
        identity: home.identityFile,
      },
      () =>
        `Store ${store.url} is ready. Its key is ${home.identityFile}: keep a copy elsewhere too, without it nothing can be restored.`,
    );
    return 0;
  });
}
