import { readFileSync } from 'node:fs';
import { toText } from '../../libs/model/byte-text.ts';

/**
 * The arguments as texts that keep every byte (model/byte-text.ts). Node decodes its arguments as UTF-8 and loses what
 * is none; the kernel still has them. `argv` is process.argv; without /proc it stays as it is.
 */
export function argumentTexts(
  argv: readonly string[],
  commandLine: () => Buffer = () => readFileSync('/proc/self/cmdline'),
): string[] {
  if (argv.every((argument) => !argument.includes('\ufffd'))) return [...argv];
  const [program, script, ...decoded] = argv;
  const raw = rawArguments(commandLine).slice(-decoded.length);
  const isSame = raw.length === decoded.length && raw.every((bytes, i) => bytes.toString() === decoded[i]);
  return [program!, script!, ...(isSame ? raw.map(toText) : decoded)];
}

function rawArguments(commandLine: () => Buffer): Buffer[] {
  let bytes: Buffer;
  try {
    bytes = commandLine();
  } catch {
    return [];
  }
  const all: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(0, at);
    all.push(bytes.subarray(at, end < 0 ? bytes.length : end));
    at = end < 0 ? bytes.length : end + 1;
  }
  return all;
}
