import { Home } from '../../../libs/embedded/home.ts';
import { type Context, withEngine } from '../context.ts';

export async function init(context: Context): Promise<number> {
  return context.settings.server ? enrolHost(context) : makeStore(context);
}

async function enrolHost(context: Context): Promise<number> {
  const { enrolledHere } = await import('../with-server.ts');
  const home = await Home.open(context.settings.home);
  const { server, agent, domain } = await enrolledHere(context, home);
  context.output.line(
    { type: 'summary', server, agent: agent.name, agentId: agent.id, domain: domain.id, home: home.path },
    () =>
      `This host is enrolled at ${server} as ${agent.name}. It can write backups; reading them back needs the identity of an administrator.`,
  );
  return 0;
}

async function makeStore(context: Context): Promise<number> {
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
