import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { mkdir, mkdtemp, open, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import { flockWait, LOCK_EX } from '../../libs/posix/index.ts';
import { freePort } from './free-port.ts';

const VERSION = '1.55.1';
const CACHE = join(homedir(), '.cache', 'tidemark-test');
const CACHED = join(CACHE, `fake-gcs-server-${VERSION}`);
const STARTS_WITHIN_MS = 20_000;
/** `go install` takes minutes. */
const BUILD_MS = 600_000;

/**
 * fake-gcs-server as a process on a random loopback port: somebody else's idea of the API. Uploads, preconditions on
 * them, CRC32C, ranges and lists are right. What it gets wrong, so that nothing about it is proved here: preconditions
 * on deletion, reading and copying are ignored; a global lock is held while an upload's body is read, so that a stalled
 * one blocks all other requests; a missing bucket is told apart from a missing object by the listing only. The scripted
 * server (test/gcs) stands in for that.
 */
export class FakeGcs {
  readonly url: string;
  readonly #process: ChildProcess;

  private constructor(url: string, process: ChildProcess) {
    this.url = url;
    this.#process = process;
  }

  /** `root`: the folder where objects outlive the process; without it they lie in memory. */
  static async start(binary: string, root?: string): Promise<FakeGcs> {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const place =
      root === undefined ? ['-backend', 'memory'] : ['-backend', 'filesystem', '-filesystem-root', root];
    const address = ['-scheme', 'http', '-host', '127.0.0.1', '-port', String(port), '-external-url', url];
    const args = [...place, ...address, '-public-host', `127.0.0.1:${port}`, '-log-level', 'error'];
    const child = spawn(binary, args, { stdio: ['ignore', 'ignore', 'inherit'] });
    const gcs = new FakeGcs(url, child);
    try {
      await gcs.#ready();
      return gcs;
    } catch (error) {
      await gcs.stop();
      throw error;
    }
  }

  async makeBucket(name: string): Promise<void> {
    const headers = { 'Content-Type': 'application/json' };
    const body = JSON.stringify({ name });
    const reply = await fetch(`${this.url}/storage/v1/b?project=test`, { method: 'POST', headers, body });
    if (!reply.ok) throw new Error(`bucket ${name}: ${reply.status} ${await reply.text()}`);
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = new Promise((done) => this.#process.once('exit', done));
    this.#process.kill('SIGKILL');
    await ended;
  }

  async #ready(): Promise<void> {
    let failure: unknown;
    this.#process.once('error', (error) => {
      failure = error;
    });
    const end = performance.now() + STARTS_WITHIN_MS;
    while (performance.now() < end) {
      if (failure !== undefined || this.#process.exitCode !== null) break;
      const reply = await fetch(`${this.url}/storage/v1/b?project=test`).catch(() => undefined);
      if (reply?.ok) return;
      await setTimeout(25);
    }
    throw new Error('fake-gcs-server does not start', { cause: failure });
  }
}

/** The binary: TIDEMARK_FAKE_GCS_SERVER, PATH, the cache, or built once where Go is there. Else the reason why not. */
export async function findFakeGcs(): Promise<{ binary: string } | { missing: string }> {
  const named = process.env.TIDEMARK_FAKE_GCS_SERVER;
  const found = named ? executable(named) : (inPath('fake-gcs-server') ?? executable(CACHED));
  if (found !== undefined) return { binary: found };
  if (named) return { missing: `TIDEMARK_FAKE_GCS_SERVER=${named} cannot be executed` };
  const go = inPath('go');
  if (go === undefined) return { missing: 'needs fake-gcs-server, or Go to build it, neither found in PATH' };
  return { binary: await build(go) };
}

/** Several test processes wait for the first one's build. */
async function build(go: string): Promise<string> {
  await mkdir(CACHE, { recursive: true });
  const lock = await open(join(CACHE, 'fake-gcs-server.lock'), 'w');
  try {
    const locked = await flockWait(lock.fd, LOCK_EX);
    if (locked !== 0) throw new Error(`the lock of ${CACHE} cannot be had: errno ${-locked}`);
    if (executable(CACHED) !== undefined) return CACHED;
    const folder = await mkdtemp(join(CACHE, 'build-'));
    try {
      const env = { ...process.env, GOBIN: folder, CGO_ENABLED: '0' };
      const module = `github.com/fsouza/fake-gcs-server@v${VERSION}`;
      await promisify(execFile)(go, ['install', module], { env, timeout: BUILD_MS });
      await rename(join(folder, 'fake-gcs-server'), CACHED);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
    return CACHED;
  } finally {
    await lock.close();
  }
}

function executable(path: string): string | undefined {
  try {
    accessSync(path, constants.X_OK);
    return path;
  } catch {
    return undefined;
  }
}

const inPath = (program: string): string | undefined =>
  (process.env.PATH ?? '')
    .split(delimiter)
    .filter((folder) => folder !== '')
    .map((folder) => executable(join(folder, program)))
    .find((path) => path !== undefined);
