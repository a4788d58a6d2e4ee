import { fromText } from '../../libs/model/byte-text.ts';
import { ERRORS, type ErrorCode, isNote, TmError } from '../../libs/model/errors.ts';
import {
  bytesToDisplay,
  bytesToJson,
  joinPath,
  pathToDisplay,
  pathToJson,
  type TreePath,
} from '../../libs/model/tree-path.ts';
import { messageToDisplay } from './display.ts';
import type { Settings } from './settings.ts';
import { inSources } from './source-lines.ts';

type Json = Record<string, unknown>;

/** Where a command's words go: JSON lines or text on stdout, progress and warnings on stderr. */
export class Output {
  readonly #settings: Pick<Settings, 'json' | 'quiet' | 'verbose' | 'progress'>;
  #progressShown = false;
  #nextProgress = 0;
  #isMute = false;

  constructor(settings: Pick<Settings, 'json' | 'quiet' | 'verbose' | 'progress'>) {
    this.#settings = settings;
  }

  get json(): boolean {
    return this.#settings.json;
  }

  /** Nobody reads stdout any more: the command goes on without it. */
  mute(): void {
    this.#isMute = true;
  }

  #print(text: string): void {
    if (!this.#isMute) process.stdout.write(`${text}\n`);
  }

  /** One JSON line, or with text output the line made by `text`. */
  line(json: Json, text: () => string): void {
    this.#clearProgress();
    if (this.#settings.json) this.#print(JSON.stringify(json));
    else if (!this.#settings.quiet) this.#print(text());
  }

  /** Raw bytes of a file's content. */
  raw(bytes: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      process.stdout.write(bytes, (error) => (error ? reject(unwritten(error)) : resolve()));
    });
  }

  status(text: string): void {
    if (this.#settings.json || this.#settings.quiet) return;
    this.#clearProgress();
    process.stderr.write(`tidemark: ${text}\n`);
  }

  /** A problem with one path, or a mere note; the command goes on. */
  problem(code: number | ErrorCode, dir: TreePath, name: Buffer, message?: string): void {
    const key = (typeof code === 'number' ? `TM${code}` : code) as ErrorCode;
    const path = name.length === 0 ? dir : joinPath(dir, name);
    const { title, guidance } = ERRORS[key];
    const type = isNote(key) ? 'note' : 'error';
    this.#clearProgress();
    if (this.#settings.json) {
      const line = { type, code: key, message: message ?? title, path: pathToJson(path), guidance };
      this.#print(JSON.stringify(line));
    } else if (type === 'error' || !this.#settings.quiet) {
      const why = message && message !== title ? ` (${messageToDisplay(message)})` : '';
      const kind = type === 'note' ? 'note: ' : '';
      process.stderr.write(`tidemark: ${kind}${pathToDisplay(path)}: ${title}${why} [${key}]\n`);
    }
  }

  /** At most twice a second; on a terminal a line that is written over, with --json a line of its own. */
  progress(json: () => Json, text: () => string): void {
    const now = Date.now();
    if (now < this.#nextProgress || !this.#settings.progress || this.#settings.quiet) return;
    this.#nextProgress = now + 500;
    if (this.#settings.json) this.#print(JSON.stringify({ type: 'progress', ...json() }));
    else if (process.stderr.isTTY) {
      const width = (process.stderr.columns || 80) - 1;
      process.stderr.write(`\r\x1b[K${text().slice(0, width)}`);
      this.#progressShown = true;
    }
  }

  #clearProgress(): void {
    if (this.#progressShown) process.stderr.write('\r\x1b[K');
    this.#progressShown = false;
  }

  /** Damage that does not keep the command from going on. `isRaw`: stdout is a file's content. */
  warning({ code, message, spec: { guidance } }: TmError, isRaw = false): void {
    this.#clearProgress();
    if (this.#settings.json && !isRaw)
      this.#print(JSON.stringify({ type: 'warning', code, message: message.toWellFormed(), guidance }));
    else process.stderr.write(`tidemark: warning: ${messageToDisplay(message)} [${code}]\n  ${guidance}\n`);
  }

  /** Reports an error once and gives the exit code. */
  error(error: unknown): number {
    this.#clearProgress();
    const known =
      error instanceof TmError
        ? error
        : new TmError('TM1099', error instanceof Error ? error.message : String(error), { cause: error });
    const { guidance, exit } = known.spec;
    if (this.#settings.json) {
      const path = known.path === undefined ? {} : { path: bytesToJson(fromText(known.path)) };
      this.#print(
        JSON.stringify({
          type: 'error',
          code: known.code,
          message: known.message.toWellFormed(),
          ...path,
          guidance,
        }),
      );
    } else {
      process.stderr.write(`tidemark: ${messageToDisplay(known.message)} [${known.code}]\n  ${guidance}\n`);
    }
    if (this.#settings.verbose) process.stderr.write(`${inSources(stackOf(error))}\n`);
    return exit;
  }
}

/** What a failed write to stdout is. */
export const unwritten = (error: Error): TmError => new TmError('TM1004', error.message, { cause: error });

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause ? `${error.stack}\ncaused by ${stackOf(error.cause)}` : String(error.stack);
}

export { formatBytes } from './display.ts';
export const rootToDisplay = (root: Buffer): string => bytesToDisplay(root);
export const rootToJson = (root: Buffer) => bytesToJson(root);
