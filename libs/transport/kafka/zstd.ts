import { promisify } from 'node:util';
import { zstdCompress, zstdDecompress } from 'node:zlib';
import kafkajs from 'kafkajs';

const compress = promisify(zstdCompress);
const decompress = promisify(zstdDecompress);
/** What a batch may grow to; ours hold 2 MiB at most. */
const MAX_PLAIN_BYTES = 64 * 1024 * 1024;

/** Teaches kafkajs zstd, which it knows by name only. */
export function registerZstd(): void {
  kafkajs.CompressionCodecs[kafkajs.CompressionTypes.ZSTD] = () => ({
    compress: ({ buffer }: { buffer: Buffer }) => compress(buffer),
    decompress: (bytes: Buffer) => decompress(bytes, { maxOutputLength: MAX_PLAIN_BYTES }),
  });
}
