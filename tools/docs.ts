/** `npm run docs`: writes the pages that are made from tables in the code. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { z } from 'zod';
import { DECLARED, type Declared, KEYS } from '../apps/cli/options.ts';
import { SERVE } from '../apps/cli/serve-config.ts';
import { CONTROL_PLANE, SETUP } from '../apps/control-plane/config.ts';
import { DELTA_CALCULATOR } from '../apps/delta-calculator/config.ts';
import { FS_MONITOR_AGENT } from '../apps/fs-monitor-agent/config.ts';
import { STORAGE_WRITER } from '../apps/storage-writer/config.ts';
import { jsonSchemas } from '../libs/contracts/wire/json-schemas.ts';
import { CAUSES } from '../libs/model/error-causes.ts';
import { ERRORS, type ErrorCode, type ErrorSpec } from '../libs/model/errors.ts';

const ROOT = join(import.meta.dirname, '..');
const NOTICE = '<!-- Made by `npm run docs`; change the tables in the code instead. -->';

function configurationPage(): string {
  const rows = KEYS.map((key): Declared<unknown> => DECLARED[key]).map(
    ({ flags, variable, help, standard }) =>
      `| ${flags ? `\`${flags}\`` : '-'} | \`${variable}\` | ${help} | ${standard} |`,
  );
  return `${NOTICE}
# Configuration
Every global option has a variable; the option wins. An empty variable counts as none. Values are checked before anything else happens, and a bad one is named (TM1002). Switches take \`1\` or \`0\` as variables. \`tidemark doctor\` warns of variables that begin with \`TIDEMARK_\` and mean nothing. Options of single commands are in \`tidemark COMMAND --help\`.

| option | variable | is | without it |
|---|---|---|---|
${rows.join('\n')}

${servicesSection()}`;
}

const SERVICES: Readonly<Record<string, z.ZodRawShape>> = {
  agent: FS_MONITOR_AGENT,
  calculator: DELTA_CALCULATOR,
  writer: STORAGE_WRITER,
  'control plane': CONTROL_PLANE,
  setup: SETUP,
  '`tidemark serve`': SERVE,
};

/** Variables of the services, each once, with those that know it. */
function servicesSection(): string {
  const known = new Map<string, { schema: z.ZodType; services: string[] }>();
  for (const [service, shape] of Object.entries(SERVICES))
    for (const [name, schema] of Object.entries(shape)) {
      const one = known.get(name) ?? { schema: schema as z.ZodType, services: [] };
      known.set(name, { ...one, services: [...one.services, service] });
    }
  const rows = [...known].map(
    ([name, { schema, services }]) => `| \`${name}\` | ${schema.description} | ${services.join(', ')} |`,
  );
  return `## Services
All of a service's variables are read at its start, and all that is wrong with them is said at once (TM1002). Each may come from a file instead, as \`NAME_FILE\`: so secrets are given. \`setup\` is what makes tables, store and topics, once (\`node dist/apps/control-plane/main.js setup\`).

| variable | is | for |
|---|---|---|
${rows.join('\n')}
`;
}

const GROUPS: Readonly<Record<string, string>> = {
  10: 'Usage, configuration, environment',
  11: 'The folder that is backed up',
  12: 'The store',
  13: 'The registry',
  14: 'Keys',
  15: 'From reading to commit',
  16: 'Reading back',
  17: 'Looking things up',
  18: 'Services and their API',
};

const EXITS: Readonly<Record<ErrorSpec['exit'], string>> = {
  0: 'a note',
  1: 'failed',
  2: 'wrong usage',
  3: 'done, but not all of it',
  4: 'damage found',
  10: 'no such backup, source or store',
  11: 'another process holds the folder',
  130: 'interrupted',
};

function errorSection(code: ErrorCode): string {
  const { title, exit, retry, guidance } = ERRORS[code];
  return `### ${code}
**${title}** (exit code ${exit}: ${EXITS[exit]}${retry ? '; running it again may help by itself' : ''})

Cause: ${CAUSES[code]}

Remedy: ${guidance}
`;
}

function errorsPage(): string {
  const codes = Object.keys(ERRORS) as ErrorCode[];
  const groups = Object.entries(GROUPS).map(([prefix, title]) => {
    const members = codes.filter((code) => code.startsWith(`TM${prefix}`));
    return `## ${title}\n\n${members.map(errorSection).join('\n')}`;
  });
  return `${NOTICE}
# Errors
Each message ends in a code, which stays the same from version to version. With \`--json\` errors are lines \`{"type":"error","code","message","path"?,"guidance"}\`, what is only worth knowing is \`{"type":"note",…}\`, and damage that does not keep a command from going on is \`{"type":"warning",…}\`.

${groups.join('\n')}`;
}

/** JSON Schemas of the messages, docs/6-messages.md. */
const schemaFiles = (): Record<string, string> =>
  Object.fromEntries(
    Object.entries(jsonSchemas()).map(([name, schema]) => [
      `docs/schemas/${name}.json`,
      `${JSON.stringify(schema, null, 2)}\n`,
    ]),
  );

/** Path below the root, and text. */
export const pages = (): Readonly<Record<string, string>> => ({
  'docs/4-configuration.md': configurationPage(),
  'docs/errors.md': errorsPage(),
  ...schemaFiles(),
});

if (import.meta.main) {
  for (const [path, text] of Object.entries(pages())) {
    mkdirSync(dirname(join(ROOT, path)), { recursive: true });
    writeFileSync(join(ROOT, path), text);
  }
}
