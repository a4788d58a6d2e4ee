import { execFile, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

export const TOP = join(import.meta.dirname, '../..');
/** What tests leave behind when they are killed is known by these, each followed by the process id of its test. */
const PREFIX = 'tidemark-test-';
export const OWNER_LABEL = 'tidemark.test';
export const PROJECT = `${PREFIX}${process.pid}`;
export const IMAGE = `tidemark-test:${process.pid}`;

const LONGEST_MS = 600_000;
const COMPOSE_PROJECT = 'com.docker.compose.project';
const run = promisify(execFile);

export interface Output {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Why there is no engine for tests, or undefined. */
export const engineMissing: string | undefined = whyMissing();

function whyMissing(): string | undefined {
  const asked = (...args: string[]) => spawnSync('docker', args, { encoding: 'utf8', timeout: 20_000 });
  const info = asked('info', '--format', '{{.ServerVersion}}');
  if (info.error) return 'needs docker, not found in PATH';
  if (info.status !== 0) return 'needs a Docker engine; docker info finds none';
  return asked('compose', 'version').status === 0 ? undefined : 'needs docker compose';
}

/** Runs docker from the top of the repository, and gives what it said whatever its status. */
export async function tryDocker(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Output> {
  const options = {
    cwd: TOP,
    env: { ...process.env, ...env },
    timeout: LONGEST_MS,
    maxBuffer: 1 << 28,
  };
  try {
    return { status: 0, ...(await run('docker', args, options)) };
  } catch (error) {
    const { code, stdout = '', stderr = '' } = error as Partial<Output> & { code?: unknown };
    if (typeof code !== 'number') throw error;
    return { status: code, stdout, stderr };
  }
}

/** As above; throws unless the status is 0. */
export async function docker(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const { status, stdout, stderr } = await tryDocker(args, env);
  if (status !== 0) throw new Error(`docker ${args.join(' ')}: ${status}\n${stdout}${stderr}`);
  return stdout;
}

export const buildImage = (): Promise<string> =>
  docker(['build', '--quiet', '--file', 'deploy/Dockerfile', '--tag', IMAGE, '.']);

type Kind = 'container' | 'volume' | 'network';
const LIST: Record<Kind, { readonly list: readonly string[]; readonly id: string }> = {
  container: { list: ['container', 'ls', '--all'], id: '{{.ID}}' },
  volume: { list: ['volume', 'ls'], id: '{{.Name}}' },
  network: { list: ['network', 'ls'], id: '{{.ID}}' },
};

/** What there is of a kind with the label, each as `id`, and the label's value. */
async function labelled(kind: Kind, label: string): Promise<{ id: string; value: string }[]> {
  const { list, id } = LIST[kind];
  const format = `${id} {{.Label "${label}"}}`;
  const lines = (await docker([...list, '--filter', `label=${label}`, '--format', format])).split('\n');
  return lines.filter(Boolean).map((line) => {
    const [found = '', value = ''] = line.split(' ');
    return { id: found, value };
  });
}

/** Containers, volumes and networks of this process's compose project. */
export async function leftOfProject(): Promise<string[]> {
  const kinds = Object.keys(LIST) as Kind[];
  const found = await Promise.all(kinds.map((kind) => labelled(kind, COMPOSE_PROJECT)));
  return found.flat().flatMap(({ id, value }) => (value === PROJECT ? [id] : []));
}

/** Removes what test processes that are no more have left: containers first, since they hold the rest. */
export async function removeLeftovers(): Promise<string[]> {
  const removed: string[] = [];
  for (const kind of Object.keys(LIST) as Kind[])
    for (const label of [COMPOSE_PROJECT, OWNER_LABEL])
      for (const { id, value } of await labelled(kind, label)) {
        if (label === COMPOSE_PROJECT && !value.startsWith(PREFIX)) continue;
        if (isAlive(value.replace(PREFIX, ''))) continue;
        // Another test process may remove the same at this moment.
        await tryDocker([kind, 'rm', '--force', ...(kind === 'container' ? ['--volumes'] : []), id]);
        removed.push(id);
      }
  const tags = await docker(['image', 'ls', '--format', '{{.Tag}}', 'tidemark-test']);
  for (const tag of tags.split('\n').filter(Boolean))
    if (!isAlive(tag)) await tryDocker(['image', 'rm', '--force', `tidemark-test:${tag}`]);
  return removed;
}

function isAlive(pid: string): boolean {
  try {
    return process.kill(Number(pid), 0);
  } catch {
    return false;
  }
}
