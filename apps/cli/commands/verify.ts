import type { DomainKeys } from '../../../libs/blocks/keys.ts';
import { committed } from '../../../libs/catalogue/find-backup.ts';
import { recordDamage } from '../../../libs/cell/record-damage.ts';
import { dataKeyName } from '../../../libs/commit/data-key.ts';
import type { Engine } from '../../../libs/embedded/engine.ts';
import { ERRORS, TmError } from '../../../libs/model/errors.ts';
import { pathToDisplay, pathToJson } from '../../../libs/model/tree-path.ts';
import { type Finding, type ToldFinding, told } from '../../../libs/verify/finding.ts';
import { Verification, type VerifyResult } from '../../../libs/verify/verify.ts';
import { type Context, withReadingEngine } from '../context.ts';
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
  const { output, settings } = context;
  const readData = partOf(options.readData);
  const started = performance.now();
  const result = settings.server ? await overServices(context, readData) : await embedded(context, readData);
  const seconds = Number(((performance.now() - started) / 1000).toFixed(3));
  output.line({ type: 'summary', ...result, seconds }, () => summary(result, seconds));
  return result.findings > 0 ? 4 : 0;
}

/** What both ways have in common. */
const requestOf = ({ output, settings, signal }: Context, readData: number) => ({
  readData,
  threads: settings.threads,
  random: Math.random,
  onProgress: ({ packs, bytes }: { packs: number; bytes: number }) =>
    output.progress(
      () => ({ packs, bytes }),
      () => `${packs} packs, ${formatBytes(bytes)}`,
    ),
  signal,
});

/** All domains, the home's own first; of those that the identity does not open, nothing is decrypted. */
function embedded(context: Context, readData: number): Promise<VerifyResult> {
  return withReadingEngine(context, async (engine) => {
    const all = await engine.registry.domains.list();
    const others = all.filter(({ id }) => id !== engine.domain.id);
    const result = await verifyDomain(context, engine, engine.domain, readData);
    for (const domain of others) {
      const more = await verifyDomain(context, engine, domain, readData);
      for (const name of COUNTS) result[name] += more[name];
    }
    return result;
  });
}

const COUNTS = ['packs', 'packsRead', 'bytes', 'blocks', 'findings', 'notices'] as const;

async function verifyDomain(
  context: Context,
  engine: Engine,
  domain: DomainKeys,
  readData: number,
): Promise<VerifyResult> {
  const { registry, store } = engine;
  const isOwn = domain.id === engine.domain.id;
  const keys = readData > 0 ? await keysOf(context, engine, domain, isOwn) : undefined;
  const request = {
    ...requestOf(context, keys ? readData : 0),
    domain: domain.id,
    checksJournal: isOwn,
    onFinding: (finding: Finding) => tell(context.output, told(finding)),
  };
  const deps = {
    registry,
    store,
    keys,
    frameKeys: { domainId: domain.id, dedupKey: domain.dedupKey },
    dataKeyName,
    domainKeys: `keys/${domain.id}/`,
    known: isOwn ? engine.damage : [],
    onDamage: async (damage: Parameters<typeof recordDamage>[2]) => {
      if (engine.damage.length === 0) await recordDamage(engine, domain.id, damage);
    },
  };
  return new Verification(request, deps).run();
}

async function keysOf({ output }: Context, engine: Engine, { id }: DomainKeys, isOwn: boolean) {
  try {
    return await engine.readingKeys(id);
  } catch (error) {
    const isOthers = error instanceof TmError && error.code === 'TM1401';
    if (isOwn || !isOthers) throw error;
    output.warning(new TmError('TM1401', `the blocks of domain ${id} are not read`, { cause: error }));
    return undefined;
  }
}

/** All domains that have backups, or that of --source. */
async function overServices(context: Context, readData: number): Promise<VerifyResult> {
  const { withServer } = await import('../with-server.ts');
  const { verifyRemote } = await import('../../../libs/remote/verify-remote.ts');
  return withServer(context, async ({ control }, reader) =>
    verifyRemote(
      {
        ...requestOf(context, readData),
        backups: await committed(reader, context.settings.source),
        onFinding: (finding) => tell(context.output, finding),
      },
      { control, reader },
    ),
  );
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

function tell(output: Output, { code, notice, object, block, label, path, message }: ToldFinding): void {
  const json = { type: 'finding', code, notice, object, block, label };
  const title = ERRORS[code].title;
  const text = message.startsWith(title) ? message : `${title}: ${message}`;
  const hit = label ? ` hits ${path ? `${pathToDisplay(path)} of ` : ''}${label}` : '';
  output.line({ ...json, path: path && pathToJson(path), message }, () => `${text}${hit} [${code}]`);
}
