import { MAX_DAMAGED, VerifyLine, verifyRoutes } from '../contracts/api/verify.ts';
import { bytesOfJson } from '../contracts/api/wire.ts';
import type { HttpClient } from '../http/client.ts';
import { ERRORS, type ErrorCode, TmError } from '../model/errors.ts';
import { fromSlashes } from '../model/tree-path.ts';
import type { ToldFinding } from '../verify/finding.ts';
import type { KnownPack } from '../verify/pack-list.ts';

interface Listener {
  readonly onPack: (pack: KnownPack) => void;
  readonly onFinding: (finding: ToldFinding) => void;
  readonly onProgress: (packs: number) => void;
}

/** What the services find without a key. Gives the number of the domain's packs, broken ones included. */
export async function serverFindings(
  control: HttpClient,
  domain: string,
  signal: AbortSignal,
  listener: Listener,
): Promise<number> {
  return follow(await control.stream(verifyRoutes.verify, { body: { domain } }, { signal }), listener);
}

/** Files of any backup that need something of what is damaged. */
export async function filesHit(
  control: HttpClient,
  damaged: {
    readonly domain: string;
    readonly blocks: ReadonlyMap<string, Buffer>;
    readonly packs: ReadonlyMap<string, Buffer>;
  },
  signal: AbortSignal,
  onFinding: (finding: ToldFinding) => void,
): Promise<void> {
  const { domain } = damaged;
  const texts = (ids: ReadonlyMap<string, Buffer>) => [...ids.values()].map((id) => id.toString('base64'));
  const [blocks, packs] = [texts(damaged.blocks), texts(damaged.packs)];
  for (let at = 0; at < Math.max(blocks.length, packs.length); at += MAX_DAMAGED) {
    const part = (all: string[]) => all.slice(at, at + MAX_DAMAGED);
    const body = { domain, blocks: part(blocks), packs: part(packs) };
    const lines = await control.stream(verifyRoutes.verifyFiles, { body }, { signal });
    await follow(lines, { onFinding, onPack: () => {}, onProgress: () => {} });
  }
}

async function follow(bytes: AsyncIterable<Buffer>, listener: Listener): Promise<number> {
  let packs: number | undefined;
  for await (const text of linesOf(bytes)) {
    const line = parse(text);
    if (line.type === 'error') throw new TmError(codeOf(line.code), 'at the server');
    if (line.type === 'pack') listener.onPack({ id: Buffer.from(line.id, 'hex'), size: line.size });
    else if (line.type === 'progress') listener.onProgress(line.packs);
    else if (line.type === 'summary') packs = line.packs;
    else listener.onFinding(findingOf(line));
  }
  if (packs === undefined) throw new TmError('TM1805', 'the connection broke in the middle of a reply');
  return packs;
}

async function* linesOf(bytes: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const piece of bytes) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split('\n');
    rest = lines.pop()!;
    yield* lines;
  }
}

function parse(text: string): VerifyLine {
  try {
    return VerifyLine.parse(JSON.parse(text));
  } catch (error) {
    throw new TmError('TM1806', 'a line of a verification', { cause: error });
  }
}

function codeOf(code: string): ErrorCode {
  if (!(code in ERRORS)) throw new TmError('TM1806', code);
  return code as ErrorCode;
}

function findingOf({
  code,
  notice,
  object,
  block,
  label,
  path,
  message,
}: VerifyLine & { type: 'finding' }): ToldFinding {
  return {
    code: codeOf(code),
    message,
    ...(notice && { notice }),
    ...(object !== undefined && { object }),
    ...(block !== undefined && { block }),
    ...(label !== undefined && { label }),
    ...(path !== undefined && { path: fromSlashes(bytesOfJson(path)) }),
  };
}
