import { rebuild } from '../../../libs/embedded/rebuild.ts';
import { TmError } from '../../../libs/model/errors.ts';
import type { Context } from '../context.ts';

/** `registry rebuild`: from the store alone. */
export async function registry(
  { settings, output }: Context,
  [action]: string[],
  options: { takeOver?: boolean; acceptLoss?: boolean },
): Promise<number> {
  if (action !== 'rebuild')
    throw new TmError('TM1001', `registry ${action}: only \`registry rebuild\` is known`);
  const result = await rebuild(
    { ...settings, create: false, onStatus: (text) => output.status(text) },
    {
      takeOver: options.takeOver === true,
      acceptLoss: options.acceptLoss === true,
      onFinding: (finding) =>
        output.line({ type: 'finding', ...finding }, () => `${finding.code} ${finding.message}`),
      onProgress: ({ backups, packs }) =>
        output.progress(
          () => ({ backups, packs }),
          () => `${packs} packs, ${backups} backups`,
        ),
    },
  );
  const { sources, backups, packs, findings, foreignSources } = result;
  output.line({ type: 'summary', ...result }, () => {
    const foreign = foreignSources > 0 ? `, ${foreignSources} sources of other domains left out` : '';
    const state = findings === 0 ? 'all is well' : `${findings} findings`;
    return `The registry knows ${backups} backups of ${sources} sources in ${packs} packs again${foreign}: ${state}. It owns ${result.storeUrl}; a registry that owned it before can write no more.`;
  });
  return findings > 0 ? 4 : 0;
}
