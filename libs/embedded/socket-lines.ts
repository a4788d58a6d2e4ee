import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { MAX_LINE_BYTES } from './watch-protocol.ts';

/** Objects, one a line. What can't be told any more is dropped: the other side has hung up. */
export function sendLine(socket: Socket, line: object): void {
  if (socket.writable) socket.write(`${JSON.stringify(line)}\n`);
}

/** Lines until the other side ends or hangs up; a longer one than is allowed hangs up. */
export async function* linesOf(socket: Socket): AsyncIterable<string> {
  let bytes = 0;
  socket.on('data', (data: Buffer) => {
    bytes = data.includes(0x0a) ? 0 : bytes + data.length;
    if (bytes > MAX_LINE_BYTES) socket.destroy();
  });
  try {
    yield* createInterface({ input: socket, crlfDelay: Number.POSITIVE_INFINITY });
  } catch {
    // It was killed: that nothing more comes says enough.
  }
}
