import { type Agent, type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';

export interface HttpRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Sent as one body; undefined: none. The buffers are the caller's again when the exchange has ended. */
  readonly body?: readonly Uint8Array[] | undefined;
  readonly agent: Agent;
  /** Ends the exchange, whatever it is waiting for. */
  readonly signal: AbortSignal;
  /** Milliseconds in which bytes have to move, in either direction. */
  readonly idle: number;
  /** A longer reply is not taken in. */
  readonly maxBytes: number;
}

export interface HttpReply {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

/** One request and its whole reply, of any status. Throws where either was cut, stalled, or too long. */
export async function exchange(options: HttpRequest): Promise<HttpReply> {
  const { url, method, agent, signal, idle, body } = options;
  const send = url.startsWith('https:') ? httpsRequest : httpRequest;
  const length = body?.reduce((sum, part) => sum + part.length, 0);
  const headers = { ...options.headers, ...(length === undefined ? {} : { 'Content-Length': `${length}` }) };
  const request = send(url, { method, headers, agent, signal });
  let stall: Error | undefined;
  request.setTimeout(idle, () => {
    stall = new Error(`nothing moved for ${idle / 1000} s`);
    request.destroy(stall);
  });
  try {
    const { responded, sent } = watch(request);
    request.cork();
    for (const part of body ?? []) request.write(part);
    request.uncork();
    request.end();
    const reply = await readReply(await responded, options);
    if (reply.status < 300) await sent; // a refusal may come while the body is still on its way
    return reply;
  } catch (error) {
    throw stall ?? error;
  } finally {
    if (!request.writableFinished) request.destroy();
  }
}

/** When the reply begins, and when the last byte of the request is out of our hands. */
function watch(request: ClientRequest): { responded: Promise<IncomingMessage>; sent: Promise<void> } {
  const responded = Promise.withResolvers<IncomingMessage>();
  const sent = Promise.withResolvers<void>();
  const fail = (error: Error): void => {
    responded.reject(error);
    sent.reject(error);
  };
  sent.promise.catch(() => {});
  request.once('response', responded.resolve);
  request.once('finish', sent.resolve);
  request.on('error', fail); // stays: a broken connection may say so more than once
  request.once('close', () => fail(new Error('the connection was closed')));
  return { responded: responded.promise, sent: sent.promise };
}

async function readReply(response: IncomingMessage, { maxBytes }: HttpRequest): Promise<HttpReply> {
  const { statusCode: status = 0, headers } = response;
  const tooLong = (): Error => new Error(`the reply is longer than ${maxBytes} bytes`);
  if (Number(headers['content-length'] ?? 0) > maxBytes) {
    response.destroy();
    throw tooLong();
  }
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) throw tooLong(); // leaving the loop closes the connection
    chunks.push(chunk);
  }
  if (!response.complete) throw new Error('the reply was cut');
  return { status, headers, body: Buffer.concat(chunks, size) };
}
