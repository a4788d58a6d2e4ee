import { findSource } from '../../../libs/catalogue/find-backup.ts';
import type { CatalogueSource } from '../../../libs/catalogue/port.ts';
import { embeddedReader } from '../../../libs/embedded/embedded-reader.ts';
import { TmError } from '../../../libs/model/errors.ts';
import { expireSource, planSource } from '../../../libs/retain/expire-source.ts';
import type { ExpiryDecision } from '../../../libs/retain/plan-expiry.ts';
import { type Context, withEngine } from '../context.ts';
import { rootToDisplay, rootToJson } from '../output.ts';
import { type RuleOptions, retentionRules } from '../retention-rules.ts';

interface Options extends RuleOptions {
  readonly dryRun?: boolean;
}

/** A source that is being backed up is named and left alone; the others are done. */
export async function expire(context: Context, [dir]: string[], options: Options): Promise<number> {
  const rules = retentionRules(options);
  const dryRun = options.dryRun === true;
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  const { output, settings, signal } = context;
  return withEngine(context, false, async (engine) => {
    const { registry } = engine;
    const name = dir ?? settings.source;
    const reader = embeddedReader(engine);
    const sources = name === undefined ? await reader.catalogue.sources() : [await findSource(reader, name)];
    const summary = { kept: 0, expired: 0, droppedEntries: 0 };
    let exit = 0;
    for (const source of sources) {
      if (signal.aborted) throw new TmError('TM1508');
      try {
        const request = { sourceId: source.id, rules, timeZone };
        const { decisions, droppedEntries } = dryRun
          ? { decisions: await planSource(registry, request), droppedEntries: 0 }
          : await expireSource(request, { registry, decide: engine.decide.bind(engine) });
        for (const decision of decisions) {
          summary[decision.action === 'keep' ? 'kept' : 'expired']++;
          print(context, source, decision, dryRun);
        }
        summary.droppedEntries += droppedEntries;
      } catch (error) {
        if (!(error instanceof TmError && error.code === 'TM1501')) throw error;
        exit = output.error(new TmError('TM1501', rootToDisplay(source.root)));
      }
    }
    await engine.registry.outbox.passOver();
    output.line({ type: 'summary', ...summary, dryRun, timeZone }, () => {
      const done = dryRun ? 'would expire' : 'expired';
      return `${summary.expired} ${done}, ${summary.kept} kept (hours and days in ${timeZone})${dryRun ? '' : '; `tidemark prune` frees the space'}`;
    });
    return exit;
  });
}

function print(
  { output }: Context,
  source: CatalogueSource,
  { backup, action, reasons }: ExpiryDecision,
  dryRun: boolean,
): void {
  const { label, seq } = backup;
  output.line(
    { type: 'expiry', label, source: rootToJson(source.root), seq, action, reasons, dryRun },
    () => `${action.padEnd(6)}  ${label}  ${rootToDisplay(source.root)}  ${reasons.join(', ')}`,
  );
}
