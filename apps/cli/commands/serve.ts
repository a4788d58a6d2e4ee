import type { CommitMessage } from '../../../libs/contracts/messages.ts';
import { makeLog } from '../../../libs/service/log.ts';
import type { Context } from '../context.ts';
import { logTo } from '../log-lines.ts';
import type { Output } from '../output.ts';
import { readServeConfig } from '../serve-config.ts';

/** An orderly stop takes less; what takes longer is left to the next start. */
const STOP_MS = 9500;

/** Runs until a signal. What is served and what becomes of backups is told on stdout, the log on stderr. */
export async function serve(
  { settings, output, signal }: Context,
  _args: string[],
  options: { readonly listen?: string; readonly url?: string },
): Promise<number> {
  const config = readServeConfig(options, process.env);
  const log = makeLog('serve', config.LOG_LEVEL, logTo(settings));
  const { startServe } = await import('../compose-serve.ts');
  const begun = performance.now();
  const served = await startServe(settings, {
    config,
    log,
    onStatus: (text) => output.status(text),
    onEvent: (event) => tell(output, event),
  });
  const { url, listens, adminTokenFile, store } = served;
  output.line({ type: 'serving', url, listens, adminTokenFile: adminTokenFile ?? null, store }, () =>
    [
      `Serving at ${url}${listens === url ? '' : ` (listens at ${listens})`}, backups are kept in ${store}.`,
      `The administrator's token is ${adminTokenFile ? `in ${adminTokenFile}` : 'that of TIDEMARK_ADMIN_TOKEN'}.`,
      'To enrol a host: make a token here with `tidemark token enrol`, and with it as TIDEMARK_ENROL_TOKEN',
      `run \`tidemark --server ${url} init\` there.`,
    ].join('\n'),
  );
  if (!signal.aborted)
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  setTimeout(() => {
    log.error({}, 'not stopped in time');
    process.exit(1);
  }, STOP_MS).unref();
  await served.stop();
  const seconds = Math.round((performance.now() - begun) / 1000);
  output.line({ type: 'summary', url, seconds }, () => 'Stopped.');
  return 0;
}

function tell(output: Output, { type, time, data, source }: CommitMessage): void {
  const uid = source.slice(source.lastIndexOf('/') + 1);
  const { label = '', code } = data;
  output.line({ ...data, type, time, sourceId: uid }, () =>
    `${time.slice(0, 19).replace('T', ' ')}  ${type}  ${label}${code === undefined ? '' : ` [${code}]`}`.trimEnd(),
  );
}
