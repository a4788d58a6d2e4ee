/**
 * `node tools/bundle.ts OUT`: makes the command of apps/cli from its sources, as few files that load only what a command
 * needs. A module of its own costs a fraction of a millisecond at each start, whatever it does: the command had 390.
 *
 *   main.js, NAME-HASH.js   the command; what is imported dynamically lies in files of its own
 *   NAME.js                 scripts of threads and processes, each one file, beside the code that starts them
 *
 * They are CommonJS: an ES module that imports one of Node's own has it load all that it would load when needed
 * (terminals, workers, WebCrypto), which took a fifth of the time of `--version`.
 *
 * Services stay as tsc writes them: they start once. What is loaded rarely or natively stays in node_modules.
 */
import { rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { type OutputOptions, type Plugin, type RolldownOptions, rolldown } from 'rolldown';

const ROOT = join(import.meta.dirname, '..');
/** Turns V8's compile cache on before it loads anything else. */
const MAIN = join(ROOT, 'apps/cli/main.ts');

/** Packages that become part of the bundle, with all that they need; pg-boss because it has to share our pg's parsers. */
const BUNDLED = ['age-encryption', 'commander', 'ignore', 'koffi', 'pg', 'pg-boss', 'zod'];

const SCRIPTS = [
  'libs/collect/worker.ts',
  'libs/registry/embedded/flock.ts',
  'libs/restore/restore-worker.ts',
  'libs/verify/verify-worker.ts',
  'libs/watch/doorbell-worker.ts',
];

/** Of packages inside of the bundle: optional ones, which they try to load. */
const OPTIONAL = new Set(['pg-native', '@opentelemetry/api']);

function isExternal(id: string, importer: string | undefined): boolean {
  if (/^[./\0]/.test(id) || id.startsWith('@oxc-project/runtime')) return false; // decorators' helpers
  if (importer?.includes('/node_modules/')) return OPTIONAL.has(id);
  return !BUNDLED.some((name) => id === name || id.startsWith(`${name}/`));
}

const common: RolldownOptions = {
  cwd: ROOT,
  platform: 'node',
  external: isExternal,
  tsconfig: 'tsconfig.json',
};

/**
 * V8 keeps a text of ASCII in half the memory, and takes it in several times faster. Such characters stand in strings
 * and regular expressions only; comments are left out.
 */
const asciiOnly: Plugin = {
  name: 'ascii-only',
  generateBundle(_options, files) {
    for (const file of Object.values(files))
      if (file.type === 'chunk')
        file.code = file.code.replace(
          /[^\0-\x7f]/g,
          (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
        );
  },
};

/** The folder is moved to dist/apps/cli when all of it is there. */
const fromItsPlace = (source: string, map: string): string =>
  join('../../..', relative(ROOT, resolve(dirname(map), source)));

async function write(options: RolldownOptions, output: OutputOptions): Promise<void> {
  const bundle = await rolldown({ ...common, ...options });
  await bundle.write({
    format: 'cjs',
    sourcemap: true,
    comments: { legal: true, annotation: false, jsdoc: false },
    plugins: [asciiOnly],
    sourcemapPathTransform: fromItsPlace,
    entryFileNames: '[name].js',
    ...output,
  });
  await bundle.close();
}

const dir = process.argv[2];
if (dir === undefined) throw new Error('give the folder that receives the command');
await rm(dir, { recursive: true, force: true });
await write(
  { input: { main: MAIN, program: 'apps/cli/program.ts' } },
  {
    dir,
    chunkFileNames: '[name]-[hash].js',
    codeSplitting: {
      groups: [
        // What every command line needs, `--version` and `--help` too; then what most commands share.
        { name: 'start', tags: ['$initial'], test: (id) => id !== MAIN, priority: 1 },
        { name: 'common', minShareCount: 10 },
      ],
    },
  },
);
await writeFile(join(dir, 'package.json'), '{ "type": "commonjs" }\n');
for (const script of SCRIPTS)
  await write({ input: { [basename(script, '.ts')]: script } }, { dir, codeSplitting: false });
