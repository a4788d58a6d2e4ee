import { messageToDisplay } from './display.ts';
import type { Settings } from './settings.ts';

interface LogLine {
  readonly level: string;
  readonly msg?: string;
  readonly code?: string;
  readonly root?: string;
  readonly path?: string;
  readonly err?: { readonly message?: string; readonly stack?: string };
}

/** Where a long-running command's log goes: stderr, as JSON lines with --json, else as lines for people. */
export function logTo({ json, verbose }: Pick<Settings, 'json' | 'verbose'>): {
  write(line: string): void;
} {
  const write = (text: string) => void process.stderr.write(text);
  return json ? { write } : { write: (line) => write(logLine(line, verbose)) };
}

/** A line of the log (libs/service/log.ts) as other commands tell of errors. */
function logLine(line: string, verbose: boolean): string {
  const { level, msg = '', code, root, path, err } = JSON.parse(line) as LogLine;
  const kind = level === 'warn' ? 'warning: ' : '';
  const what = [path ?? root, msg, err?.message].filter(Boolean).map((one) => messageToDisplay(one!));
  const stack = verbose && err?.stack ? `${err.stack}\n` : '';
  return `tidemark: ${kind}${what.join(': ')}${code ? ` [${code}]` : ''}\n${stack}`;
}
