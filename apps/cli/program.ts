import { Command, CommanderError, Option } from 'commander';
import { TmError } from '../../libs/model/errors.ts';
import { TIME_FORMS } from '../../libs/model/parse-time.ts';
import { VERSION } from '../../libs/model/version.ts';
import { argumentTexts } from './argument-bytes.ts';
import type { Context } from './context.ts';
import { EXAMPLES } from './examples.ts';
import { globalOptions } from './options.ts';
import { Output, unwritten } from './output.ts';
import { settingsOf } from './settings.ts';

/** Commands that do nothing but print: when nobody reads on, they are done. */
const PRINTERS = new Set([
  'backups',
  'ls',
  'find',
  'cat',
  'diff',
  'key',
  'status',
  'coverage',
  'schedule',
  'jobs',
]);

/** Commands that talk to services, too. */
const SERVED = new Set([
  ...['init', 'backup', 'backups', 'restore', 'diff', 'ls', 'find', 'cat', 'verify', 'status'],
  ...['doctor', 'policy', 'schedule', 'jobs', 'coverage'],
]);

type Options = Record<string, unknown>;
/** A command's work: gives the exit code. Modules are loaded only when the command runs. */
type Action = (context: Context, args: string[], options: Options) => Promise<number>;

const collect = (value: string, before: string[] = []) => [...before, value];

const HELP = ['help', '--help', '-h'];
const VERSIONS = ['--version', '-V'];

/**
 * Of commands, by their usage, those that have to be there to take `args`: making one takes a fifth of a millisecond, and
 * there are many.
 */
function wanted<T extends readonly [usage: string, ...unknown[]]>(
  commands: readonly T[],
  args: readonly string[],
): readonly T[] {
  if (args.some((one) => HELP.includes(one))) return commands;
  const named = commands.filter(([usage]) => args.includes(usage.split(' ')[0]!));
  return named.length > 0 || args.some((one) => VERSIONS.includes(one)) ? named : commands;
}

/** Builds the command line that takes `args`; `perform` runs the chosen action. */
function build(
  args: readonly string[],
  perform: (load: () => Promise<Action>, command: Command, args: string[]) => Promise<void>,
): Command {
  const program = new Command('tidemark')
    .description('Differential backups as an event stream.')
    .version(VERSION, '-V, --version')
    .showHelpAfterError('See `tidemark --help`.')
    .configureOutput({ writeErr: () => {} })
    .exitOverride();
  for (const option of globalOptions()) program.addOption(option);
  const make = (
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
  const commands: Parameters<typeof make>[] = [];
  const add = (...command: Parameters<typeof make>) => commands.push(command);
  add(
    'init',
    'make store, registry and identity (or take the one of --identity); with --server: enrol this host',
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
        .option(
          '--exclude <GLOB>',
          'leave out what matches (git-ignore style), as .tidemarkignore files do',
          collect,
        )
        .option('--exclude-from <FILE>', 'patterns from a file', collect)
        .option('--one-file-system', 'stay on the file system of DIR')
        .option('--accept-root', 'DIR was emptied or replaced on purpose')
        .option('--dry-run', 'say what would be stored; write nothing'),
  );
  add(
    'watch <DIR...>',
    'stay, and back up what changes a few seconds later, until SIGINT or SIGTERM',
    async () => (await import('./commands/watch.ts')).watch,
    (c) =>
      c
        .option('--every <SPAN>', 'between two commits, such as 500ms, 5s, 2min (here: 5s)')
        .option(
          '--settle <SPAN>',
          'how long a file has to be quiet before it is taken, --every at most (here: 500ms)',
        )
        .option('--exclude <GLOB>', 'leave out what matches (git-ignore style)', collect)
        .option('--exclude-from <FILE>', 'patterns from a file', collect)
        .option('--one-file-system', 'stay on the file system of DIR')
        .option('--accept-root', 'DIR was emptied or replaced on purpose'),
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
    'status [DIR]',
    'how each folder stands: last backup, last full, what is under way, what failed',
    async () => (await import('./commands/status.ts')).status,
  );
  add(
    'coverage [DIR]',
    'when folders were watched, and when changes may have gone unnoticed; of the last 24 hours',
    async () => (await import('./commands/coverage.ts')).coverage,
    (c) =>
      c.option('--from <TIME>', `from when on: ${TIME_FORMS}`).option('--to <TIME>', 'until when; here: now'),
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
    'policy <ACTION> [DIR]',
    'policy set, show, remove: which backups of a folder are made by themselves, as long as `tidemark serve` or the services run',
    async () => (await import('./commands/policy.ts')).policy,
    (c) =>
      c
        .option(
          '--full-every <WHEN>',
          'a full each span (4w, 7d, 12h, 30min), or by a cron expression of five fields',
        )
        .option('--differential-every <WHEN>', 'the same for differentials')
        .option('--differential-after-full', 'a differential as soon as a full is done')
        .option(
          '--time-zone <ZONE>',
          'of cron expressions and of the window, such as Europe/Berlin (here: the local one)',
        )
        .option('--jitter <SPAN>', 'up to that much later, differently for each folder')
        .option('--window <FROM-TO>', 'begin backups at these times of day only, such as 22:00-06:00')
        .option('--exclude <GLOB>', 'leave out what matches (again and again)', collect)
        .option('--tag <K=V>', 'mark the backups (again and again)', collect)
        .option('--paused', 'keep the policy, make nothing')
        .option(
          '--watch-every <SPAN>',
          'of `watch`: so long between two micro-differentials, such as 500ms, 5s, 2min',
        )
        .option(
          '--recovery-point <SPAN>',
          'of `watch`: an event tells when a change is older than that and in no backup yet',
        ),
  );
  add(
    'schedule [DIR]',
    'say what is due when',
    async () => (await import('./commands/schedule.ts')).schedule,
  );
  add(
    'jobs [DIR]',
    'list backups that wait, run or have ended by policy, the newest first',
    async () => (await import('./commands/jobs.ts')).jobs,
    (c) => c.option('--limit <N>', 'how many at most (here: 100)'),
  );
  add(
    'serve',
    'run the services in one process, until SIGTERM: API, scheduler, and backups by policy',
    async () => (await import('./commands/serve.ts')).serve,
    (c) =>
      c
        .option('--listen <HOST:PORT>', 'where it listens (TIDEMARK_LISTEN; here: 127.0.0.1:7337)')
        .option(
          '--url <URL>',
          'under which other hosts reach it (TIDEMARK_URL; here: made of where it listens)',
        ),
  );
  add(
    'token <KIND> [ID]',
    'token enrol, reader, admin: make a token for the services of this registry; token revoke ID',
    async () => (await import('./commands/token.ts')).token,
    (c) =>
      c
        .option('--name <NAME>', 'what it is for')
        .option('--hours <N>', 'how long it is good (here: enrol 24, others until they are revoked)')
        .option('--agent <ID>', 'with enrol: whose host was set up anew'),
  );
  add(
    'doctor [DIR]',
    'check the set-up and say what to do; also how DIR, or each folder with backups, would be watched',
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
  for (const command of wanted(commands, args)) make(...command);
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
  const program = build(argv.slice(2), async (load, command, args) => {
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
  abortOnSignals(interrupt);
  const stdout = watchStdout(output, PRINTERS.has(command.name()));
  try {
    if (settings.server && !SERVED.has(command.name()))
      throw new TmError(
        'TM1001',
        `${command.name()} works on a registry at hand: leave --server (TIDEMARK_SERVER) out`,
      );
    const action = await load();
    const exit = await action({ settings, output, signal: interrupt.signal }, args, options);
    await new Promise<void>((resolve) => process.stdout.write('', () => resolve()));
    return stdout.failure === undefined ? exit : fallback.error(unwritten(stdout.failure));
  } catch (error) {
    return output.error(interrupt.signal.aborted ? new TmError('TM1508') : error);
  }
}

/**
 * The first signal asks the command to end in order, one that comes a second later or more ends it at once. What
 * comes sooner is the same wish: `timeout` signals its child and then its group.
 */
function abortOnSignals(interrupt: AbortController): void {
  const stop = () => {
    interrupt.abort();
    setTimeout(forget, 1_000).unref();
  };
  const forget = () => {
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
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
