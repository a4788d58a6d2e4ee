import { formatBytes, formatDuration } from './display.ts';
import type { Output } from './output.ts';

/** Bytes that a command has dealt with, and how many there will be at its end where that is known. */
export interface Done {
  readonly files: number;
  readonly bytes: number;
  readonly totalBytes?: number | undefined;
}

/** Rate in bytes a second, as of late. */
export interface Paced extends Done {
  readonly rate: number;
}

/** Older samples do not count for the rate, in milliseconds. */
const WINDOW = 10_000;
/** Between two samples, in milliseconds. */
const SAMPLE = 500;

/** Measures the rate of the last seconds. `now` in milliseconds. */
export class RateMeter {
  readonly #now: () => number;
  readonly #samples: { at: number; bytes: number }[];

  constructor(now: () => number) {
    this.#now = now;
    this.#samples = [{ at: now(), bytes: 0 }];
  }

  /** Bytes a second; 0 while nothing can be said. `bytes` never falls. */
  rate(bytes: number): number {
    const at = this.#now();
    const samples = this.#samples;
    const first = samples[0]!;
    if (at - samples.at(-1)!.at >= SAMPLE) samples.push({ at, bytes });
    while (samples.length > 2 && samples[1]!.at < at - WINDOW) samples.shift();
    return at === first.at ? 0 : Math.round(((bytes - first.bytes) * 1000) / (at - first.at));
  }
}

/** Undefined where the end is not known. */
export function secondsLeft({ bytes, totalBytes, rate }: Paced): number | undefined {
  if (totalBytes === undefined || totalBytes < bytes || rate <= 0) return undefined;
  return Math.ceil((totalBytes - bytes) / rate);
}

export function progressJson(paced: Paced): Record<string, unknown> {
  return {
    filesDone: paced.files,
    bytesDone: paced.bytes,
    bytesTotal: paced.totalBytes,
    bytesPerSecond: paced.rate,
    secondsLeft: secondsLeft(paced),
  };
}

export function progressText(paced: Paced): string {
  const { files, bytes, totalBytes, rate } = paced;
  const left = secondsLeft(paced);
  const of = left === undefined ? '' : ` of ${formatBytes(totalBytes!)}`;
  const eta = left === undefined ? '' : `, ${formatDuration(left)} left`;
  return `${files} files, ${formatBytes(bytes)}${of}, ${formatBytes(rate)}/s${eta}`;
}

/** Shows how far a command has come whenever it is told. */
export class ProgressLine {
  readonly #output: Output;
  readonly #meter: RateMeter;

  constructor(output: Output, now: () => number) {
    this.#output = output;
    this.#meter = new RateMeter(now);
  }

  /** `more` is for --json alone. */
  show(done: Done, more: Readonly<Record<string, unknown>> = {}): void {
    const paced = { ...done, rate: this.#meter.rate(done.bytes) };
    this.#output.progress(
      () => ({ ...progressJson(paced), ...more }),
      () => progressText(paced),
    );
  }
}
