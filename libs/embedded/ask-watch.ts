import { once } from 'node:events';
import { closeSync, openSync, readdirSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import type { CollectProblem, CollectProgress } from '../collect/collector.ts';
import { TmError } from '../model/errors.ts';
import { reviveError, type SentError } from '../model/sent-error.ts';
import type { Wish } from '../monitor/port.ts';
import { linesOf, sendLine } from './socket-lines.ts';
import { socketName } from './watch-lock.ts';
import type { MadeBackup, WatchReply, WatchRequest, WatchView } from './watch-protocol.ts';

/** Milliseconds in which a process that watches takes a request; one that is stopped never does. */
const TAKEN_MS = 10_000;

export interface WatchPlace {
  /** Home.watchFolder. */
  readonly folder: string;
  /** As `placeOf` gives it. */
  readonly place: string;
}

/**
 * Has the process that watches a folder make a backup of it. Undefined where none does, or it went away meanwhile: then
 * it is for the caller to make. Aborting the signal calls it off, TM1508.
 */
export async function askWatch(
  { folder, place }: WatchPlace,
  root: Buffer,
  { kind, tags, excludes, oneFileSystem, acceptRoot, onProblem, onProgress, signal }: Wish,
): Promise<MadeBackup | undefined> {
  const request: WatchRequest = {
    ...{ version: 1, place, type: 'backup', tags, acceptRoot },
    ...(kind && { kind }),
    ...(excludes && { excludes: [...excludes] }),
    ...(oneFileSystem !== undefined && { oneFileSystem }),
  };
  for await (const reply of ask(folder, socketName(root), request, signal)) {
    switch (reply.type) {
      case 'problem':
        onProblem(problemOf(reply));
        break;
      case 'progress':
        onProgress(progressOf(reply));
        break;
      case 'made':
        return reply.backup;
      case 'failed':
        throw reviveError(reply as SentError);
    }
  }
  if (signal.aborted) throw new TmError('TM1508');
  return undefined;
}

/** How the folders that are watched from a home stand; of one, or of all. */
export async function watchViews({ folder, place }: WatchPlace, root?: Buffer): Promise<WatchView[]> {
  const names = root ? [socketName(root)] : socketsIn(folder);
  const views = await Promise.all(
    names.map(async (name) => {
      for await (const reply of ask(folder, name, { version: 1, place, type: 'status' })) {
        if (reply.type === 'status') return reply.watch;
      }
      return undefined;
    }),
  );
  return views.filter((view) => view !== undefined);
}

function socketsIn(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith('.sock'))
      .sort();
  } catch {
    return []; // nobody ever watched
  }
}

/** Nothing, where nobody answers. */
async function* ask(
  folder: string,
  name: string,
  request: WatchRequest,
  signal?: AbortSignal,
): AsyncIterable<WatchReply> {
  const socket = await connected(folder, name);
  if (!socket) return;
  const hangUp = () => socket.destroy();
  const timer = setTimeout(hangUp, TAKEN_MS);
  signal?.addEventListener('abort', hangUp, { once: true });
  try {
    if (signal?.aborted) return;
    sendLine(socket, request);
    for await (const line of linesOf(socket)) {
      clearTimeout(timer);
      yield JSON.parse(line) as WatchReply;
    }
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', hangUp);
    socket.destroy();
  }
}

/** Through a descriptor of the folder, as the path of the socket may be too long for one. */
async function connected(folder: string, name: string): Promise<Socket | undefined> {
  let fd: number | undefined;
  try {
    fd = openSync(folder, 'r');
    const socket = connect(`/proc/self/fd/${fd}/${name}`);
    await once(socket, 'connect');
    return socket;
  } catch {
    return undefined; // no such folder, no socket, or of a process that is gone
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

type Reply<T extends WatchReply['type']> = Extract<WatchReply, { type: T }>;

const problemOf = ({ code, dir, name, message }: Reply<'problem'>): CollectProblem => ({
  code,
  dir: Buffer.from(dir, 'base64'),
  name: Buffer.from(name, 'base64'),
  message,
});

const progressOf = ({ files, bytes, totalBytes, newBytes }: Reply<'progress'>): CollectProgress => ({
  files,
  bytes,
  totalBytes,
  newBytes,
});
