import { TmError } from '../../model/errors.ts';
import type { HttpReply } from './http-exchange.ts';

/** What a call does, and the right that it takes on the bucket. */
const RIGHTS = {
  create: 'storage.objects.create (role Storage Object Creator)',
  read: 'storage.objects.get (role Storage Object Viewer)',
  list: 'storage.objects.list (role Storage Object Viewer)',
  delete: 'storage.objects.delete (role Storage Object Admin)',
} as const;
export type GcsAction = keyof typeof RIGHTS;

/** What a reply that is no success means for the store. 404 and 412 are the caller's to know. */
export function toGcsError(action: GcsAction, what: string, reply: HttpReply): TmError {
  const { status } = reply;
  const said = `${what}: ${status} ${messageOf(reply)}`;
  if (status === 408 || status === 429 || status >= 500) return new TmError('TM1201', said);
  if (status === 401) return new TmError('TM1214', `${said}; the credentials are not accepted`);
  if (status === 403) return new TmError('TM1214', `${said}; it takes the right ${RIGHTS[action]}`);
  const isDamagedOnTheWay = status === 400 && /crc32c|md5|hash|checksum/i.test(messageOf(reply));
  if (status === 400 && !isDamagedOnTheWay) return new TmError('TM1214', said);
  return new TmError('TM1211', said);
}

/** What the server says of an error, in at most 300 characters. */
export function messageOf({ body }: HttpReply): string {
  return errorMessage(body).replace(/\s+/g, ' ').trim().slice(0, 300);
}

function errorMessage(body: Buffer): string {
  const text = body.toString('utf8');
  try {
    const { error } = JSON.parse(text) as { error?: { message?: unknown } };
    return typeof error?.message === 'string' ? error.message : text;
  } catch {
    return text;
  }
}

/** What it means that there was no reply. `seconds`: the deadline of the call. */
export function toNetworkError(what: string, error: unknown, seconds: number): TmError {
  if (error instanceof TmError) return error;
  if (error instanceof Error && error.cause instanceof TmError) return error.cause;
  const timedOut = error instanceof Error && (error.name === 'TimeoutError' || isTimeout(error.cause));
  const why = timedOut ? `no answer within ${seconds} s` : messageOfError(error);
  return new TmError('TM1201', `${what}: ${why}`, { cause: error });
}

const isTimeout = (cause: unknown): boolean => cause instanceof Error && cause.name === 'TimeoutError';

/** Connection errors of several addresses at once have their words in their parts. */
function messageOfError(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(messageOfError).join(', ');
  return error instanceof Error ? error.message : String(error);
}

/** No token could be had: without credentials, or refused ones, trying again helps nobody. */
export function toCredentialsError(error: unknown): TmError {
  const message = messageOfError(error);
  const status = Number((error as { status?: unknown } | undefined)?.status);
  if (/default credentials/i.test(message)) {
    const how = 'set GOOGLE_APPLICATION_CREDENTIALS, or run where a service account is attached';
    return new TmError('TM1214', `no Google credentials were found; ${how}`, { cause: error });
  }
  const isTransient = status >= 500 || status === 429 || (!(status >= 400) && isConnectionError(error));
  return new TmError(isTransient ? 'TM1201' : 'TM1214', `no access token: ${message}`, { cause: error });
}

const CONNECTION_ERRORS =
  /^(ECONN\w+|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EPIPE|UND_ERR_\w+|ERR_STREAM_PREMATURE_CLOSE)$/;

function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = 'code' in error ? String(error.code) : '';
  return CONNECTION_ERRORS.test(code) || isConnectionError(error.cause);
}
