import { Command, CommanderError, Option } from 'commander';
import { TmError } from '../../libs/model/errors.ts';
import { TIME_FORMS } from '../../libs/model/parse-time.ts';
import { argumentTexts } from './argument-bytes.ts';
import type { Context } from './context.ts';
import { EXAMPLES } from './examples.ts';
import { globalOptions } from './options.ts';
import { Output, unwritten } from './output.ts';
import { settingsOf } from './settings.ts';
import { VERSION } from './version.ts';

/** Commands that do nothing but print: when nobody reads on, they are done. */
const PRINTERS = new Set(['backups', 'ls', 'find', 'cat', 'diff', 'key']);

type Options = Record<string, unknown>;
/** A command's work: gives the exit code. Modules are loaded only when the command runs. */
type Action = (context: Context, args: string[], options: Options) => Promise<number>;

const collect = (value: string, before: string[] = []) => [...before, value];

/** Builds the command line; `perform` runs the chosen action. */
function build(
  perform: (load: () => Promise<Action>, command: Command, args: string[]) => Promise<void>,
): Command {
  const program = new Command('tidemark')
    .description('Differential backups as an event stream.')
    .version(VERSION, '-V, --version')
    .showHelpAfterError('See `tidemark --help`.')
    .configureOutput({ writeErr: () => {} })
    .exitOverride();
  for (const option of globalOptions()) program.addOption(option);
  const add = (
    usage: string,
    description: string,
    load: () => Promise<Action>,
    configure: (command: Command) => Command = (c) => c,
  ) => {
    const command = configure(program.command(usage).description(description).exitOverride());
    const examples = EXAMPLES[command.name()] ?? [];
    command.addHelpText('after', ['', 'Examples:', ...examples.map((line) => `  ${line}`)].join('\n'));
    command.action((...all) =>
      perform(
        load,
        command,
        (all.slice(0, -2) as (string | string[] | undefined)[]).flat().filter((one) => one !== undefined),
      ),
    );
  };
  add(
    'init',
    'make store, registry and identity (or take the one of --identity)',
    async () => (await import('./commands/init.ts')).init,
  );
  add(
    'backup <DIR>',
    'back up a folder: the first time fully, then what changed',
    async () => (await import('./commands/backup.ts')).backup,
    (c) =>
      c
        .addOption(new Option('--full', 'read every file again').conflicts('differential'))
        .option('--differential', 'only what changed since the last full')
        .option('--tag <K=V>', 'mark the backup (again and again)', collect)
        .option('--exclude <GLOB>', 'leave out what matches (git-ignore style)', collect)
        .option('--exclude-from <FILE>', 'patterns from a file', collect)
        .option('--one-file-system', 'stay on the file system of DIR')
        .option('--accept-root', 'DIR was emptied or replaced on purpose')
        .option('--dry-run', 'say what would be stored; write nothing'),
  );
  add('backups [DIR]', 'list the backups', async () => (await import('./commands/backups.ts')).backups);
  add(
    'restore [LABEL] [PATH...]',
    'bring a backup back',
    async () => (await import('./commands/restore.ts')).restore,
    (c) =>
      c
        .option('--to <TARGET>', 'the folder that receives it')
        .option('--in-place', 'into the folder that was backed up')
        .option('--at <TIME>', `the newest backup at that time: ${TIME_FORMS}`)
        .option('--delete', 'remove what the backup lacks')
        .option('--dry-run', 'say what would happen'),
  );
  add(
    'diff <A> [B]',
    'entries that differ; A alone: against its baseline',
    async () => (await import('./commands/diff.ts')).diff,
  );
  add(
    'ls <LABEL> [PATH]',
    'list a folder of a backup',
    async () => (await import('./commands/ls.ts')).ls,
    (c) => c.option('-r, --recursive', 'also what is below'),
  );
  add(
    'find <PATTERN>',
    'find paths in all backups, deleted ones too (* ? for names; with / for whole paths, ** across /)',
    async () => (await import('./commands/find.ts')).find,
  );
  add(
    'cat <LABEL> <PATH>',
    "write a file's content to stdout",
    async () => (await import('./commands/cat.ts')).cat,
  );
  add(
    'verify',
    'check registry, journal and store',
    async () => (await import('./commands/verify.ts')).verify,
    (c) => c.option('--read-data [N%]', 'read, decrypt and check every block, or those of N % of the packs'),
  );
  add(
    'expire [DIR]',
    'let backups go that no rule keeps; the rules are united, hours and days are those of the local time zone',
    async () => (await import('./commands/expire.ts')).expire,
    (c) =>
      c
        .option('--keep-last <N>', 'keep the newest N backups')
        .option('--keep-hourly <N>', 'keep the newest backup of each of the last N hours that have one')
        .option('--keep-daily <N>', 'the same for days')
        .option('--keep-weekly <N>', 'the same for weeks, from Monday')
        .option('--keep-monthly <N>', 'the same for months')
        .option('--keep-yearly <N>', 'the same for years')
        .option('--keep-within <SPAN>', 'keep what is at most 1y6m2w7d12h older than the newest (m: months)')
        .option('--keep-tag <K=V>', 'keep backups with this tag (again and again)', collect)
        .option('--dry-run', 'say what would expire, and why the others stay'),
  );
  add(
    'prune',
    'delete from the store what no backup needs any more',
    async () => (await import('./commands/prune.ts')).prune,
    (c) => c.option('--dry-run', 'say what would be freed'),
  );
  add(
    'pin <LABEL>',
    'never expire a backup (--off: may expire again)',
    async () => (await import('./commands/pin.ts')).pin,
    (c) => c.option('--off'),
  );
  add(
    'tag <LABEL> <K=V...>',
    'mark a backup; K= removes a tag',
    async () => (await import('./commands/tag.ts')).tag,
  );
  add(
    'doctor',
    'check the set-up and say what to do',
    async () => (await import('./commands/doctor.ts')).doctor,
  );
  add(
    'key <ACTION>',
    'key show: identity and recipients',
    async () => (await import('./commands/key.ts')).key,
  );
  add(
    'registry <ACTION>',
    'registry rebuild: make the registry anew from the store alone',
    async () => (await import('./commands/registry.ts')).registry,
    (c) =>
      c
        .option('--take-over', 'also where another registry has claimed the store')
        .option('--accept-loss', 'also where the old registry knows more than the damaged store'),
  );
  return program;
}

/** Parses and runs; gives the exit code. */
export async function run(argv: readonly string[]): Promise<number> {
  let exit = 0;
  const fallback = new Output({
    json: argv.includes('--json'),
    quiet: false,
    verbose: argv.includes('--verbose'),
    progress: false,
  });
  const program = build(async (load, command, args) => {
    exit = await perform(load, command, args, fallback);
  });
  try {
    await program.parseAsync(argumentTexts(argv));
    return exit;
  } catch (error) {
    if (!(error instanceof CommanderError)) return fallback.error(error);
    if (error.exitCode === 0) return 0;
    if (error.code === 'commander.help') {
      process.stderr.write(program.helpInformation());
      return 2;
    }
    return fallback.error(new TmError('TM1001', error.message.replace(/^error: /, '')));
  }
}

async function perform(
  load: () => Promise<Action>,
  command: Command,
  args: string[],
  fallback: Output,
): Promise<number> {
  const options = command.optsWithGlobals<Options>();
  const settings = settingsOf(options);
  const output = new Output(settings);
  const interrupt = new AbortController();
  const stop = () => interrupt.abort();
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  const stdout = watchStdout(output, PRINTERS.has(command.name()));
  try {
    const action = await load();
    const exit = await action({ settings, output, signal: interrupt.signal }, args, options);
    await new Promise<void>((resolve) => process.stdout.write('', () => resolve()));
    return stdout.failure === undefined ? exit : fallback.error(unwritten(stdout.failure));
  } catch (error) {
    return output.error(interrupt.signal.aborted ? new TmError('TM1508') : error);
  } finally {
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
  }
}

/**
 * A reader of stdout that went away is no error: a printer ends, other commands go on without words. What could not
 * be written for another reason (a full disk) makes the command fail.
 */
function watchStdout(output: Output, isPrinter: boolean): { failure: Error | undefined } {
  const seen: { failure: Error | undefined } = { failure: undefined };
  const gone = (error: NodeJS.ErrnoException) =>
    error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED';
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    output.mute();
    if (!gone(error)) seen.failure ??= error;
    else if (isPrinter && seen.failure === undefined) process.exit(0);
  });
  process.stderr.on('error', () => {});
  return seen;
}
