import { recover } from '../../../libs/cell/recover.ts';
import { prune as runPrune } from '../../../libs/retain/prune.ts';
import type { ObjectInfo } from '../../../libs/store/port.ts';
import { type Context, withEngine } from '../context.ts';
import { formatBytes } from '../output.ts';

export async function prune(
  context: Context,
  _args: string[],
  options: { dryRun?: boolean },
): Promise<number> {
  const { output, signal } = context;
  const dryRun = options.dryRun === true;
  const started = performance.now();
  return withEngine(context, false, async (engine) => {
    const { registry, store } = engine;
    const deps = { registry, store, recover: () => recover(engine, true) };
    const onOrphan = ({ name, size }: ObjectInfo) =>
      output.line(
        { type: 'orphan', object: name, bytes: size },
        () => `unknown to the registry, left alone: ${name} (${formatBytes(size)})`,
      );
    const result = await runPrune({ domain: engine.domain.id, dryRun, signal, onOrphan }, deps);
    for (const { id } of await registry.domains.list()) {
      if (id === engine.domain.id) continue;
      const more = await runPrune({ domain: id, dryRun, signal, onOrphan: () => {} }, deps);
      for (const name of ['packs', 'bytes', 'idleBytes'] as const) result[name] += more[name];
    }
    await engine.registry.outbox.passOver();
    const seconds = Number(((performance.now() - started) / 1000).toFixed(3));
    output.line({ type: 'summary', ...result, dryRun, seconds }, () => {
      const freed = `${result.packs} packs, ${formatBytes(result.bytes)} ${dryRun ? 'would be freed' : 'freed'}`;
      return `${freed}; ${formatBytes(result.idleBytes)} in packs that are partly needed`;
    });
    return 0;
  });
}
