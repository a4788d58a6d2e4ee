import { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { TmError } from '../model/errors.ts';
import type { Bytes, RequestLog } from './binding.ts';
import { BusyError, PROBLEM_TYPE, problemOf } from './problem.ts';

const BYTES_TYPE = 'application/octet-stream';
/** Milliseconds in which a client may go on sending a body that nobody reads; cutting it at once would cost it our answer. */
const LINGER = 2000;

/** For the log all of it, for the client what it may know. */
export function sendProblem(request: FastifyRequest, reply: FastifyReply, thrown: unknown): FastifyReply {
  const error = asTmError(thrown);
  const problem = problemOf(error);
  const fields = { code: error.code, status: problem.status, ...(problem.status >= 500 && { err: thrown }) };
  logAt(request.log, problem.status)(fields, error.message);
  if (error instanceof BusyError) reply.header('retry-after', error.retryAfterSeconds);
  if (problem.status === 401) reply.header('www-authenticate', 'Bearer');
  lingerOver(request, reply);
  return reply.code(problem.status).type(PROBLEM_TYPE).send(JSON.stringify(problem));
}

function logAt(log: RequestLog, status: number): (fields: object, message: string) => void {
  return (fields, message) => (status >= 500 ? log.error(fields, message) : log.info(fields, message));
}

/** Errors of the server itself (a path that does not decode, say) keep their status. */
function asTmError(thrown: unknown): TmError {
  if (thrown instanceof TmError) return thrown;
  const { statusCode, message } = thrown as { statusCode?: number; message?: string };
  if (statusCode === 413) return new TmError('TM1809');
  if (statusCode === 404) return new TmError('TM1811');
  if (statusCode && statusCode >= 400 && statusCode < 500) return new TmError('TM1807', message);
  return new TmError('TM1099', undefined, { cause: thrown });
}

function lingerOver({ raw }: FastifyRequest, reply: FastifyReply): void {
  if (raw.complete) return;
  reply.raw.once('finish', () => {
    const timer = setTimeout(() => raw.socket.destroy(), LINGER);
    raw.once('close', () => clearTimeout(timer));
  });
}

/** The first piece is waited for, so that what fails before it can still be told. `idle`: milliseconds without progress. */
export async function sendBytes(reply: FastifyReply, bytes: Bytes, idle: number): Promise<FastifyReply> {
  reply.type(BYTES_TYPE);
  if (Buffer.isBuffer(bytes)) return reply.send(cutWhenIdle(reply, idle, bytes));
  const pieces = bytes[Symbol.asyncIterator]();
  const first = await pieces.next();
  const stream = Readable.from(goingOn(first, pieces), { objectMode: false, highWaterMark: 256 * 1024 });
  return reply.send(cutWhenIdle(reply, idle, stream));
}

/** Until the reply is out; the time-out of the connection that is kept afterwards is the server's own. */
function cutWhenIdle<T>({ raw: { socket }, raw }: FastifyReply, idle: number, payload: T): T {
  const cut = () => socket?.destroy();
  socket?.setTimeout(idle, cut);
  raw.once('close', () => socket?.off('timeout', cut));
  return payload;
}

async function* goingOn(
  first: IteratorResult<Buffer>,
  pieces: AsyncIterator<Buffer>,
): AsyncGenerator<Buffer> {
  try {
    for (let next = first; !next.done; next = await pieces.next()) yield next.value;
  } finally {
    await pieces.return?.();
  }
}
