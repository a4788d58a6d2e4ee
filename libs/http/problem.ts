import { z } from 'zod';
import { ERRORS, type ErrorCode, TmError } from '../model/errors.ts';

/** application/problem+json (RFC 9457) with our code and its remedy. */
export const problemSchema = z.object({
  type: z.string(),
  title: z.string(),
  status: z.number().int(),
  detail: z.string().optional(),
  code: z.string(),
  guidance: z.string(),
});
export type Problem = z.output<typeof problemSchema>;

export const PROBLEM_TYPE = 'application/problem+json';

const STATUS_OF: readonly (readonly [number, readonly ErrorCode[]])[] = [
  [400, ['TM1001', 'TM1002', 'TM1505', 'TM1510', 'TM1807', 'TM1810', 'TM1812']],
  [401, ['TM1801', 'TM1804']],
  [403, ['TM1802']],
  [404, ['TM1701', 'TM1703', 'TM1704', 'TM1811']],
  [409, ['TM1501', 'TM1502', 'TM1503', 'TM1504', 'TM1506', 'TM1507', 'TM1512', 'TM1513', 'TM1702', 'TM1705']],
  [409, ['TM1803', 'TM1813']],
  [413, ['TM1511', 'TM1809']],
  [503, ['TM1201', 'TM1204', 'TM1211', 'TM1301', 'TM1508', 'TM1515', 'TM1808']],
];
const STATUS = new Map(STATUS_OF.flatMap(([status, codes]) => codes.map((code) => [code, status] as const)));

/** TM1808 that says when to come again: 429 for one who asks too often, 503 for a server that has too much to do. */
export class BusyError extends TmError {
  readonly status: 429 | 503;
  readonly retryAfterSeconds: number;

  constructor(status: 429 | 503, retryAfterSeconds: number, detail?: string) {
    super('TM1808', detail);
    this.status = status;
    this.retryAfterSeconds = Math.max(1, Math.ceil(retryAfterSeconds));
  }
}

const statusOf = (error: TmError): number =>
  error instanceof BusyError ? error.status : (STATUS.get(error.code) ?? 500);

const detailOf = ({ message, spec }: TmError): string | undefined =>
  message.startsWith(`${spec.title}: `) ? message.slice(spec.title.length + 2) : undefined;

/** What a client is told. Of what is no fault of the request only code and guidance: messages may hold paths and addresses. */
export function problemOf(error: TmError): Problem {
  const { code, spec } = error;
  const status = statusOf(error);
  const detail = status < 500 || code === 'TM1808' ? detailOf(error) : undefined;
  const { title, guidance } = spec;
  return { type: `urn:tidemark:error:${code}`, title, status, ...(detail && { detail }), code, guidance };
}

/** The error that a problem tells of; TM1806 for a code that this version does not know. */
export function errorOf({ code, title, detail }: Problem): TmError {
  if (!(code in ERRORS)) return new TmError('TM1806', `${code}: ${title}`);
  return new TmError(code as ErrorCode, detail);
}
