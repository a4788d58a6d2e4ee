import { TmError } from '../../model/errors.ts';

/** Protocol errors that stand for a fact of ours; whatever else goes wrong is Kafka that cannot be used. */
const CODES: Readonly<Record<string, 'TM1511' | 'TM1516'>> = {
  UNKNOWN_TOPIC_OR_PARTITION: 'TM1516',
  INVALID_TOPIC_EXCEPTION: 'TM1516',
  MESSAGE_TOO_LARGE: 'TM1511',
  RECORD_LIST_TOO_LARGE: 'TM1511',
};

/** The error that the client threw, wrapped in its own ones mostly, as ours. */
export function toTmError(error: unknown, what: string): TmError {
  if (error instanceof TmError) return error;
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const code = CODES[(at as { type?: string }).type ?? ''];
    if (code) return new TmError(code, what, { cause: error });
  }
  const message = error instanceof Error ? error.message : String(error);
  return new TmError('TM1515', `${what}: ${message}`, { cause: error });
}
