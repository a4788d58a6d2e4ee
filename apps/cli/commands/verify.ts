import { dataKeyName } from '../../../libs/embedded/data-key.ts';
import { readingKeys } from '../../../libs/embedded/reading-keys.ts';
import { recordDamage } from '../../../libs/embedded/record-damage.ts';
import { ERRORS, TmError } from '../../../libs/model/errors.ts';
import { pathToDisplay, pathToJson } from '../../../libs/model/tree-path.ts';
import { type Finding, Verification, type VerifyResult } from '../../../libs/verify/verify.ts';
import { type Context, withReading } from '../context.ts';
import { formatBytes, type Output } from '../output.ts';

/** `--read-data` or `--read-data=N%` as a part from 0 to 1. */
export function partOf(option: string | boolean | undefined): number {
  if (option === undefined || option === false) return 0;
  if (option === true) return 1;
  const percent = /^(\d+(?:\.\d+)?)%?$/.exec(option)?.[1];
  const part = Number(percent) / 100;
  if (percent === undefined || part <= 0 || part > 1)
    throw new TmError('TM1002', `--read-data=${option}: a percentage above 0 and up to 100, such as 5%`);
  return part;
}

export async function verify(
  context: Context,
  _args: string[],
  options: { readData?: string | boolean },
): Promise<number> {
  const { output, settings, signal } = context;
  const readData = partOf(options.readData);
  const started = performance.now();
  return withReading(context, async (engine) => {
    const { registry, store, domain } = engine;
    const keys = readData > 0 ? await readingKeys(engine) : undefined;
    const request = {
      domain: domain.id,
      readData,
      threads: settings.threads,
      random: Math.random,
      onFinding: (finding: Finding) => tell(output, finding),
      onProgress: ({ packs, bytes }: { packs: number; bytes: number }) =>
        output.progress(
          () => ({ packs, bytes }),
          () => `${packs} packs, ${formatBytes(bytes)}`,
        ),
      signal,
    };
    const deps = {
      registry,
      store,
      keys,
      frameKeys: { domainId: domain.id, dedupKey: domain.dedupKey },
      dataKeyName,
      domainKeys: `keys/${domain.id}/`,
      known: engine.damage,
      onDamage: async (damage: Parameters<typeof recordDamage>[1]) => {
        if (engine.damage.length === 0) await recordDamage(engine, damage);
      },
    };
    const result = await new Verification(request, deps).run();
    const seconds = Number(((performance.now() - started) / 1000).toFixed(3));
    output.line({ type: 'summary', ...result, seconds }, () => summary(result, seconds));
    return result.findings > 0 ? 4 : 0;
  });
}

function summary(
  { packs, packsRead, bytes, blocks, findings, notices }: VerifyResult,
  seconds: number,
): string {
  const read = packsRead > 0 ? `, ${packsRead} of them read (${formatBytes(bytes)}, ${blocks} blocks)` : '';
  const verdict = findings === 0 ? 'all is well' : `${findings} findings`;
  const more = notices > 0 ? `, ${notices} notices` : '';
  return `${packs} packs${read}: ${verdict}${more}, ${seconds} s`;
}

function tell(output: Output, { code, notice, object, block, backup, path, message }: Finding): void {
  const json = { type: 'finding', code, notice, object, block, label: backup?.label };
  const title = ERRORS[code].title;
  const text = message.startsWith(title) ? message : `${title}: ${message}`;
  const hit = backup ? ` hits ${path ? `${pathToDisplay(path)} of ` : ''}${backup.label}` : '';
  output.line({ ...json, path: path && pathToJson(path), message }, () => `${text}${hit} [${code}]`);
}
