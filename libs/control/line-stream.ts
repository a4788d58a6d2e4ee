import { setTimeout as sleep } from 'node:timers/promises';
import type { VerifyLine } from '../contracts/api/verify.ts';
import { TmError } from '../model/errors.ts';

/** Milliseconds after which something is said in any case. */
const SILENCE_MS = 1000;

type Tell = (line: VerifyLine) => void;

/**
 * The reply of long work: a JSON object a line, as they come; an error becomes the last one. Lines wait in memory until
 * the client takes them: some hundred bytes each, as many as there are packs and findings.
 */
export async function* lineStream(work: (tell: Tell) => Promise<void>): AsyncGenerator<Buffer> {
  const waiting: VerifyLine[] = [];
  let progress: VerifyLine = { type: 'progress', packs: 0 };
  let news = Promise.withResolvers<void>();
  let isOver = false;
  const tell: Tell = (line) => {
    if (line.type === 'progress') progress = line;
    else {
      waiting.push(line);
      news.resolve();
    }
  };
  void work(tell)
    .catch((error) => tell(errorLine(error)))
    .then(() => {
      isOver = true;
      news.resolve();
    });
  while (!isOver || waiting.length > 0) {
    await Promise.race([news.promise, sleep(SILENCE_MS, undefined, { ref: false })]);
    news = Promise.withResolvers<void>();
    const lines = waiting.length > 0 ? waiting.splice(0) : [progress];
    yield Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  }
}

/** As with other routes: what is no fault of the request is told by its code only. */
function errorLine(error: unknown): VerifyLine {
  return { type: 'error', code: error instanceof TmError ? error.code : 'TM1099' };
}
