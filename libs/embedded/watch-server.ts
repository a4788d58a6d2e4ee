import { closeSync, openSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TmError } from '../model/errors.ts';
import { sendError } from '../model/sent-error.ts';
import type { Monitor } from '../monitor/monitor.ts';
import type { Committed } from '../monitor/port.ts';
import { linesOf, sendLine } from './socket-lines.ts';
import { socketName } from './watch-lock.ts';
import {
  type MadeBackup,
  type WatchReply,
  type WatchRequest,
  type WatchView,
  watchRequest,
} from './watch-protocol.ts';

/** Milliseconds that a question may wait for what happened before it: in a storm of changes there is no end to that. */
const SYNC_MS = 1000;

export interface WatchServerOptions {
  /** Where sockets lie; for this user alone. */
  readonly folder: string;
  readonly root: Buffer;
  readonly monitor: Monitor;
  /** As `placeOf` gives it. */
  readonly place: string;
}

/** Answers other processes of this home about one watched folder. Whoever opens it holds the folder's WatchLock. */
export class WatchServer {
  readonly #options: WatchServerOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** A descriptor of the folder: through it a path to the socket is short, however long the home's is. */
  readonly #folder: number;

  private constructor(options: WatchServerOptions) {
    this.#options = options;
    this.#folder = openSync(options.folder, 'r');
    this.#server = createServer((socket) => void this.#serve(socket));
  }

  static async open(options: WatchServerOptions): Promise<WatchServer> {
    const server = new WatchServer(options);
    const name = socketName(options.root);
    rmSync(join(options.folder, name), { force: true }); // of one that was killed: the lock is ours
    try {
      await new Promise<void>((resolve, reject) => {
        server.#server.once('error', reject);
        server.#server.listen(`/proc/self/fd/${server.#folder}/${name}`, resolve);
      });
      return server;
    } catch (error) {
      closeSync(server.#folder);
      throw new TmError('TM1010', `${options.folder}: ${(error as Error).message}`, { cause: error });
    }
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroySoon();
    await closed;
    closeSync(this.#folder);
  }

  async #serve(socket: Socket): Promise<void> {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    for await (const line of linesOf(socket)) {
      const request = parsed(line);
      if (request) await this.#answer(socket, request);
      socket.end();
    }
  }

  async #answer(socket: Socket, request: WatchRequest): Promise<void> {
    const { monitor, place } = this.#options;
    if (request.place !== place) return reply(socket, { type: 'elsewhere' });
    if (request.type === 'status') {
      await Promise.race([monitor.sync(), sleep(SYNC_MS, undefined, { ref: false })]);
      return reply(socket, { type: 'status', watch: this.#view() });
    }
    reply(socket, { type: 'taken' });
    const hungUp = new AbortController();
    socket.once('close', () => hungUp.abort());
    try {
      const made = await monitor.ask({
        kind: request.kind,
        tags: request.tags,
        excludes: request.excludes,
        oneFileSystem: request.oneFileSystem,
        acceptRoot: request.acceptRoot,
        onProblem: ({ code, dir, name, message }) =>
          reply(socket, { type: 'problem', code, dir: base64(dir), name: base64(name), message }),
        onProgress: (progress) => reply(socket, { type: 'progress', ...progress }),
        signal: hungUp.signal,
      });
      reply(socket, { type: 'made', backup: madeBackup(made) });
    } catch (error) {
      // A watch that ends says nothing: who asked makes the backup by itself.
      if (!(error instanceof TmError && error.code === 'TM1508'))
        reply(socket, { type: 'failed', ...sendError(error) });
    }
  }

  #view(): WatchView {
    const { by, oldestChange, lastCommit, failure, ...status } = this.#options.monitor.status;
    return {
      ...status,
      root: base64(this.#options.root),
      by: by ?? null,
      oldestChange: oldestChange ?? null,
      lastCommit: lastCommit ?? null,
      failure: failure ?? null,
    };
  }
}

const reply = (socket: Socket, line: WatchReply): void => sendLine(socket, line);

const base64 = (bytes: Buffer): string => bytes.toString('base64');

const madeBackup = ({ backup: { label, kind, counts }, baseline }: Committed): MadeBackup => ({
  label,
  kind,
  counts,
  baseline,
});

function parsed(line: string): WatchRequest | undefined {
  try {
    return watchRequest.parse(JSON.parse(line));
  } catch {
    return undefined; // of another version, or none of ours
  }
}
