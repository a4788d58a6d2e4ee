import { execFile } from 'node:child_process';
import { accessSync, constants, mkdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const POM = join(import.meta.dirname, 'pom.xml');
const PROGRAMS = ['java', 'keytool', 'mvn', 'flock'];

const isThere = (program: string): boolean =>
  (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });

/** Why no Kafka can run here; undefined when it can. Where `CI` is set, a test that is skipped for it is a failure. */
export function kafkaMissing(): string | undefined {
  const missing = PROGRAMS.filter((program) => !isThere(program));
  return missing.length > 0 ? `needs ${missing.join(' and ')}, not found in PATH` : undefined;
}

/** Folder of Kafka's jars. The first caller brings them from Maven Central; others, of other processes too, wait for it. */
export async function kafkaJars(): Promise<string> {
  const version = /<kafka\.version>(.*)<\/kafka\.version>/.exec(readFileSync(POM, 'utf8'))![1]!;
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'tidemark-test');
  const folder = join(cache, `kafka-${version}`);
  mkdirSync(cache, { recursive: true });
  // A copy that broke off has no mark, and is made again.
  const script = `[ -e "$1/complete" ] || { rm -rf "$1" &&
    mvn -q -B -f "$2" dependency:copy-dependencies -DoutputDirectory="$1" -DincludeScope=runtime && : >"$1/complete"; }`;
  await run('flock', [`${folder}.lock`, 'sh', '-c', script, 'sh', folder, POM]);
  return folder;
}
