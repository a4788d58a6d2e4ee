/**
 * Gives memory back at once that is all the bytes' own, instead of when the collector comes to it: large buffers weigh
 * little in its eyes. Nobody may use the bytes afterwards.
 */
export function release(bytes: Uint8Array): void {
  const { buffer, byteLength } = bytes;
  if (buffer instanceof ArrayBuffer && byteLength === buffer.byteLength && byteLength > 0) buffer.transfer(0);
}
