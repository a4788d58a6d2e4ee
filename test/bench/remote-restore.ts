/**
 * What a restore over services costs beside an embedded one: a tree of about 20,000 files, backed up into a home at hand
 * and through `tidemark serve` without Kafka (file store, embedded Postgres), restored from both in turn. With a delay,
 * the client's bytes and the server's each come that many milliseconds later. From dist/, as `tools/build` makes it:
 * `node test/bench/remote-restore.ts [--rounds 3] [--files 20000] [--delay 0] [--base DIR]`
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { stopEmbeddedPostgres } from '../../libs/registry/embedded/index.ts';
import { freePort } from '../services/free-port.ts';

const MAIN = join(import.meta.dirname, '../../dist/apps/cli/main.js');
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    files: { type: 'string', default: '20000' },
    delay: { type: 'string', default: '0' },
    base: { type: 'string', default: '/dev/shm/tidemark-bench-remote' },
  },
});
const base = values.base;
const path = (...names: string[]) => join(base, ...names);

interface Cost {
  readonly seconds: number;
  readonly cpu: number;
}

const envOf = (home: string, more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv => ({
  ...process.env,
  TIDEMARK_HOME: path(home),
  ...more,
});

/** Runs the command as a process of its own, with that process' CPU time. */
async function tidemark(args: readonly string[], env: NodeJS.ProcessEnv): Promise<Cost & { stdout: string }> {
  const begun = performance.now();
  const timed = [
    '-c',
    'import resource,subprocess,sys; s=subprocess.run(sys.argv[1:]).returncode; r=resource.getrusage(resource.RUSAGE_CHILDREN); print(r.ru_utime+r.ru_stime, file=sys.stderr); sys.exit(s)',
  ];
  const child = spawn('python3', [...timed, process.execPath, MAIN, '--json', ...args], { env });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
  const [status] = await once(child, 'close');
  if (status !== 0) throw new Error(`tidemark ${args.join(' ')}: ${stdout}${stderr}`);
  const seconds = (performance.now() - begun) / 1000;
  return { seconds, cpu: Number(stderr.trim().split('\n').at(-1)), stdout };
}

/** Passes bytes on, each `delay` ms later. */
async function slowProxy(to: number, delay: number): Promise<number> {
  const pass = (from: Socket, into: Socket) => {
    from.on('data', (bytes) => setTimeout(() => into.writable && into.write(bytes), delay));
    from.on('end', () => setTimeout(() => into.end(), delay));
    from.on('error', () => into.destroy());
  };
  const server = createServer((client) => {
    const upstream = connect(to, '127.0.0.1');
    client.setNoDelay();
    upstream.setNoDelay();
    pass(client, upstream);
    pass(upstream, client);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  server.unref();
  return (server.address() as AddressInfo).port;
}

async function serve(env: NodeJS.ProcessEnv) {
  const port = await freePort();
  const delay = Number(values.delay);
  const url = `http://127.0.0.1:${delay > 0 ? await slowProxy(port, delay) : port}`;
  const args = [MAIN, 'serve', '--json', '--listen', `127.0.0.1:${port}`, '--url', url];
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
  for await (const bytes of child.stdout) if (String(bytes).includes('"serving"')) break;
  child.stdout.resume();
  return { url, child };
}

const median = (all: readonly number[]): number => all.toSorted((a, b) => a - b)[all.length >> 1]!;

async function measure(): Promise<void> {
  const tree = path('tree');
  const made = spawnSync('python3', [join(import.meta.dirname, 'make_tree.py'), tree], {
    env: { ...process.env, NFILES: values.files, BIG_MB: '10' },
  });
  if (made.status !== 0) throw new Error(String(made.stderr));
  const embedded = envOf('embedded');
  await tidemark(['backup', tree], embedded);
  const { url, child } = await serve(envOf('services'));
  try {
    const token = async (kind: string): Promise<string> =>
      JSON.parse((await tidemark(['token', kind], envOf('services'))).stdout).token;
    const client = envOf('client', {
      TIDEMARK_SERVER: url,
      TIDEMARK_TOKEN: await token('reader'),
      TIDEMARK_ENROL_TOKEN: await token('enrol'),
      TIDEMARK_IDENTITY: path('services/identity'),
    });
    await tidemark(['backup', tree], client);
    const costs = { embedded: [] as Cost[], remote: [] as Cost[], list: [] as Cost[] };
    for (let n = 0; n <= Number(values.rounds); n++) {
      const target = path('target');
      const one = await tidemark(['restore', 'latest', '--to', target], embedded);
      rmSync(target, { recursive: true });
      const other = await tidemark(['restore', 'latest', '--to', target], client);
      if (n === 0) same(tree, target);
      rmSync(target, { recursive: true });
      const list = await tidemark(['ls', 'latest', '--recursive'], client);
      if (n === 0) continue; // a warm-up
      costs.embedded.push(one);
      costs.remote.push(other);
      costs.list.push(list);
    }
    for (const [name, all] of Object.entries(costs))
      process.stdout.write(
        `${name}: ${all.map(({ seconds, cpu }) => `${seconds.toFixed(2)} s (CPU ${cpu.toFixed(2)})`).join(', ')}\n`,
      );
    const ratios = costs.remote.map(({ seconds }, i) => seconds / costs.embedded[i]!.seconds);
    process.stdout.write(`remote / embedded: ${median(ratios).toFixed(2)}\n`);
  } finally {
    child.kill('SIGTERM');
    await once(child, 'close');
  }
}

function same(a: string, b: string): void {
  const { status, stdout } = spawnSync('python3', [join(import.meta.dirname, '../cycle/treediff.py'), a, b], {
    encoding: 'utf8',
  });
  if (Object.keys(JSON.parse(stdout).diff).length > 0) throw new Error(`not the same: ${status} ${stdout}`);
}

mkdirSync(base, { mode: 0o711 });
try {
  await measure();
} finally {
  for (const home of ['embedded', 'services']) await stopEmbeddedPostgres(path(home));
  rmSync(base, { recursive: true, force: true });
}
