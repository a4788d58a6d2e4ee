import { readingKeys } from '../../../libs/embedded/reading-keys.ts';
import { pathToDisplay, pathToJson } from '../../../libs/model/tree-path.ts';
import { Verification } from '../../../libs/verify/verify.ts';
import { type Context, withReading } from '../context.ts';
import { formatBytes } from '../output.ts';

export async function verify(
  context: Context,
  _args: string[],
  options: { readData?: boolean },
): Promise<number> {
  const { output } = context;
  const readData = options.readData === true;
  return withReading(context, async (engine) => {
    const { registry, store } = engine;
    const keys = readData ? await readingKeys(engine) : undefined;
    const request = {
      domain: engine.domain.id,
      writer: engine.home.writer,
      readData,
      onFinding: ({
        code,
        object,
        block,
        backup,
        path,
        message,
      }: import('../../../libs/verify/verify.ts').Finding) =>
        output.line(
          {
            type: 'finding',
            code,
            object,
            block,
            label: backup?.label,
            path: path && pathToJson(path),
            message,
          },
          () =>
            `${code} ${message}${backup && path ? ` hits ${pathToDisplay(path)} of ${backup.label}` : ''}`,
        ),
      onProgress: ({ packs, bytes }: { packs: number; bytes: number }) =>
        output.progress(
          () => ({ packs, bytes }),
          () => `${packs} packs, ${formatBytes(bytes)}`,
        ),
    };
    const result = await new Verification(request, { registry, store, keys }).run();
    output.line(
      { type: 'summary', ...result },
      () =>
        `${result.packs} packs${readData ? `, ${formatBytes(result.bytes)}, ${result.blocks} blocks read` : ''}: ${result.findings === 0 ? 'all is well' : `${result.findings} findings`}`,
    );
    return result.findings > 0 ? 4 : 0;
  });
}
