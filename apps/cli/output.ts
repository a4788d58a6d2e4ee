import { ERRORS, type ErrorCode, TmError } from '../../libs/model/errors.ts';
import {
  bytesToDisplay,
  bytesToJson,
  joinPath,
  pathToDisplay,
  pathToJson,
  type TreePath,
} from '../../libs/model/tree-path.ts';
import type { Settings } from './options.ts';

type Json = Record<string, unknown>;

/** Where a command's words go: JSON lines or text on stdout, progress and warnings on stderr. */
export class Output {
  readonly #settings: Pick<Settings, 'json' | 'quiet' | 'verbose' | 'progress'>;
  #progressShown = false;
  #nextProgress = 0;

  constructor(settings: Pick<Settings, 'json' | 'quiet' | 'verbose' | 'progress'>) {
    this.#settings = settings;
  }

  get json(): boolean {
    return this.#settings.json;
  }

  /** One JSON line, or with text output the line made by `text`. */
  line(json: Json, text: () => string): void {
    this.#clearProgress();
    if (this.#settings.json) process.stdout.write(`${JSON.stringify(json)}\n`);
    else if (!this.#settings.quiet) process.stdout.write(`${text()}\n`);
  }

  /** Raw bytes of a file's content. */
  raw(bytes: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
  }

  status(text: string): void {
    if (this.#settings.json || this.#settings.quiet) return;
    this.#clearProgress();
    process.stderr.write(`tidemark: ${text}\n`);
  }

  /** A problem with one path; the command goes on. */
  problem(code: number | ErrorCode, dir: TreePath, name: Buffer, message?: string): void {
    const key = (typeof code === 'number' ? `TM${code}` : code) as ErrorCode;
    const path = name.length === 0 ? dir : joinPath(dir, name);
    const title = ERRORS[key].title;
    this.#clearProgress();
    if (this.#settings.json) {
      const { guidance } = ERRORS[key];
      process.stdout.write(
        `${JSON.stringify({ type: 'error', code: key, message: message ?? title, path: pathToJson(path), guidance })}\n`,
      );
    } else {
      process.stderr.write(
        `tidemark: ${pathToDisplay(path)}: ${title}${message && message !== title ? ` (${message})` : ''} [${key}]\n`,
      );
    }
  }

  /** At most twice a second; on a terminal a line that is written over, with --json a line of its own. */
  progress(json: () => Json, text: () => string): void {
    const now = Date.now();
    if (now < this.#nextProgress || !this.#settings.progress || this.#settings.quiet) return;
    this.#nextProgress = now + 500;
    if (this.#settings.json) process.stdout.write(`${JSON.stringify({ type: 'progress', ...json() })}\n`);
    else if (process.stderr.isTTY) {
      const width = (process.stderr.columns ?? 80) - 1;
      process.stderr.write(`\r\x1b[K${text().slice(0, width)}`);
      this.#progressShown = true;
    }
  }

  #clearProgress(): void {
    if (this.#progressShown) process.stderr.write('\r\x1b[K');
    this.#progressShown = false;
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
      const path = known.path === undefined ? {} : { path: known.path };
      process.stdout.write(
        `${JSON.stringify({ type: 'error', code: known.code, message: known.message, ...path, guidance })}\n`,
      );
    } else {
      process.stderr.write(`tidemark: ${known.message} [${known.code}]\n  ${guidance}\n`);
    }
    if (this.#settings.verbose) process.stderr.write(`${stackOf(error)}\n`);
    return exit;
  }
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause ? `${error.stack}\ncaused by ${stackOf(error.cause)}` : String(error.stack);
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

export function formatBytes(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return unit === 0 ? `${value} B` : `${value.toFixed(1)} ${UNITS[unit]}`;
}

export const rootToDisplay = (root: Buffer): string => bytesToDisplay(root);
export const rootToJson = (root: Buffer) => bytesToJson(root);
