import { type Agent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { TmError } from '../model/errors.ts';

/** One request, once. */
export interface Exchange {
  readonly url: URL;
  readonly method: string;
  readonly headers: Readonly<Record<string, string | number>>;
  /** Sent as they are, not copied. */
  readonly body: readonly Buffer[];
  readonly agent: Agent | undefined;
  /** Milliseconds without a byte in either direction. */
  readonly timeout: number;
  readonly signal: AbortSignal | undefined;
}

/** TM1805 whose request cannot have reached the server, so that repeating it can do no harm. */
export class UnsentError extends TmError {}

/**
 * Resolves with the reply's head; its body is to be read or destroyed. A reply that comes before all of the body is
 * sent ends the sending. Throws TM1805, or TM1508 once aborted.
 */
export function exchange(given: Exchange): Promise<IncomingMessage> {
  const { url, method, headers, body, agent, timeout, signal } = given;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(new TmError('TM1508'));
    const length = body.reduce((sum, part) => sum + part.length, 0);
    const hasBody = body.length > 0 || method === 'POST' || method === 'PUT';
    const options: RequestOptions = {
      method,
      agent,
      timeout,
      headers: { ...headers, ...(hasBody && { 'content-length': length }) },
    };
    const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, options);
    const abort = () => request.destroy(new TmError('TM1508'));
    signal?.addEventListener('abort', abort, { once: true });
    const done = () => signal?.removeEventListener('abort', abort);
    let unsent = true;
    const connected = () => {
      unsent = false;
    };
    request.once('socket', (socket) => (socket.connecting ? socket.once('connect', connected) : connected()));
    request.once('timeout', () => request.destroy(new Error(`nothing came for ${timeout / 1000} s`)));
    request.on('error', (error) => {
      done();
      reject(unreachable(error, url, unsent));
    });
    request.once('response', (response) => {
      response.once('close', done);
      response.once('close', () => {
        if (!request.writableFinished) request.destroy();
      });
      resolve(response);
    });
    for (const part of body) request.write(part);
    request.end();
  });
}

function unreachable(error: Error, url: URL, unsent: boolean): TmError {
  if (error instanceof TmError) return error;
  const Kind = unsent ? UnsentError : TmError;
  return new Kind('TM1805', `${url.origin}: ${error.message}`, { cause: error });
}
