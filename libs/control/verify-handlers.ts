import { recordDamage } from '../cell/record-damage.ts';
import { dataKeyName } from '../commit/data-key.ts';
import { type VerifyLine, verifyRoutes } from '../contracts/api/verify.ts';
import { type Binding, bind } from '../http/binding.ts';
import { TmError } from '../model/errors.ts';
import { pathToJson } from '../model/tree-path.ts';
import type { Finding } from '../verify/finding.ts';
import { type Damage, Verification } from '../verify/verify.ts';
import { EntryCheck } from '../verify/verify-entries.ts';
import { lineStream } from './line-stream.ts';
import type { ControlParts } from './parts.ts';

type Tell = (line: VerifyLine) => void;

/** One at a time: each goes through all of a domain. */
const AT_ONCE = { concurrent: 1 };

/** What can be proven without a key; the reader who has it proves the rest. */
export function verifyHandlers({ cell }: ControlParts): Binding[] {
  return [
    bind(
      verifyRoutes.verify,
      async ({ body: { domain }, signal }) => {
        const { dedupKey } = await domainOf(cell, domain);
        return lineStream((tell) => verify(cell, { domainId: domain, dedupKey }, tell, signal));
      },
      AT_ONCE,
    ),
    bind(
      verifyRoutes.verifyFiles,
      async ({ body: { domain, blocks, packs } }) => {
        await domainOf(cell, domain);
        return lineStream(async (tell) => {
          const bad = new Set(blocks.map(hexOf));
          for (const pack of packs)
            for (const { id } of await cell.registry.blocks.blocksOf(domain, Buffer.from(pack, 'base64')))
              bad.add(id.toString('hex'));
          await new EntryCheck(cell.registry, domain, (found) => tell(lineOf(found))).nameFiles(bad);
          tell({ type: 'summary', packs: 0 });
        });
      },
      AT_ONCE,
    ),
  ];
}

const hexOf = (base64: string): string => Buffer.from(base64, 'base64').toString('hex');

async function domainOf({ registry }: ControlParts['cell'], id: string) {
  const domain = await registry.domains.get(id);
  if (!domain) throw new TmError('TM1811', `domain ${id}`);
  return domain;
}

async function verify(
  cell: ControlParts['cell'],
  frameKeys: { readonly domainId: string; readonly dedupKey: Buffer },
  tell: Tell,
  signal: AbortSignal,
): Promise<void> {
  const { registry, store, damage: known } = cell;
  const { domainId: domain } = frameKeys;
  const request = {
    domain,
    readData: 0,
    threads: 0,
    random: Math.random,
    onFinding: (found: Finding) => tell(lineOf(found)),
    onProgress: ({ packs }: { packs: number }) => tell({ type: 'progress', packs }),
    onPack: ({ id, size }: { id: Buffer; size: number }) =>
      tell({ type: 'pack', id: id.toString('hex'), size }),
    signal,
  };
  const deps = {
    registry,
    store,
    keys: undefined,
    frameKeys,
    dataKeyName,
    domainKeys: `keys/${domain}/`,
    known,
    onDamage: async (found: Damage) => {
      if (known.length === 0) await recordDamage(cell, domain, found);
    },
  };
  const { packs } = await new Verification(request, deps).run();
  tell({ type: 'summary', packs });
}

function lineOf({ code, notice, object, block, backup, path, message }: Finding): VerifyLine {
  return {
    type: 'finding',
    code,
    ...(notice && { notice }),
    ...(object && { object }),
    ...(block && { block }),
    ...(backup && { label: backup.label }),
    ...(path && { path: pathToJson(path) }),
    message: message.toWellFormed(),
  };
}
