/** `npm run docs`: writes the pages that are made from tables in the code. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DECLARED, type Declared, KEYS } from '../apps/cli/options.ts';
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

/** Path below the root, and text. */
export const pages = (): Readonly<Record<string, string>> => ({
  'docs/4-configuration.md': configurationPage(),
  'docs/errors.md': errorsPage(),
});

if (import.meta.main) {
  for (const [path, text] of Object.entries(pages())) writeFileSync(join(ROOT, path), text);
}
