import type { LoggerService } from '@nestjs/common';
import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino';

export type Log = Logger;

/** One JSON object a line, on stdout where no other place is given. What carries a secret by its name is never written. */
export function makeLog(name: string, level: string, to?: DestinationStream): Log {
  const secrets = ['token', 'password', 'macKey', 'authorization', 'dedupKey', 'digestKey', 'key'];
  const options: LoggerOptions = {
    name,
    level,
    base: { service: name },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: { paths: secrets.flatMap((one) => [one, `*.${one}`, `req.headers.${one}`]), remove: true },
    serializers: { err: pino.stdSerializers.err },
  };
  return to ? pino(options, to) : pino(options);
}

/** Throws what it logs as an error, too. */
const THROWN_BY = 'NestApplication';

/** Nest's own words, in the same form; what it tells of every start, and what is told by who catches it, goes to `debug`. */
export function nestLogger(log: Log): LoggerService {
  const at =
    (level: 'debug' | 'info' | 'warn' | 'error') =>
    (message: unknown, ...rest: unknown[]) => {
      const context = rest.at(-1);
      log[context === THROWN_BY ? 'debug' : level](
        { context },
        typeof message === 'string' ? message : String(message),
      );
    };
  return {
    log: at('debug'),
    verbose: at('debug'),
    debug: at('debug'),
    warn: at('warn'),
    error: at('error'),
    fatal: at('error'),
  };
}
