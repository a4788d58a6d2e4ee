import { parseArgs } from 'node:util';
import { makeLog } from '../../libs/service/log.ts';
import { runService } from '../../libs/service/run-service.ts';

const USAGE = `Usage: control-plane         serve, until SIGTERM
       control-plane setup   make tables, store and topics where they are missing, then end
         --enrol-token-file FILE    also put an enrolment token there, good for a day and one agent
         --reader-token-file FILE   also put a reader's token there
`;

function argumentsOf() {
  try {
    const { positionals, values } = parseArgs({
      allowPositionals: true,
      options: {
        'enrol-token-file': { type: 'string' },
        'reader-token-file': { type: 'string' },
        help: { type: 'boolean' },
      },
    });
    if (values.help) return usage(0);
    if (positionals.length > 1 || (positionals[0] ?? 'setup') !== 'setup') return usage(2);
    return { isSetup: positionals[0] === 'setup', values };
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    return usage(2);
  }
}

function usage(code: number): never {
  process.stderr.write(USAGE);
  process.exit(code);
}

const log = makeLog('control-plane', 'info');
const { isSetup, values } = argumentsOf();
if (isSetup) {
  const { setUp } = await import('./compose-setup.ts');
  const tokenFiles = { enrol: values['enrol-token-file'], reader: values['reader-token-file'] };
  await setUp(process.env, log, { tokenFiles }).catch((error) => {
    log.error({ err: error, code: error.code, guidance: error.spec?.guidance }, 'setup failed');
    process.exitCode = error.spec?.exit ?? 1;
  });
} else {
  const { startControlPlane } = await import('./compose.ts');
  await runService('control-plane', log, () => startControlPlane(process.env, log));
}
