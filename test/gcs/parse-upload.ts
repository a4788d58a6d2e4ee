import type { IncomingHttpHeaders } from 'node:http';
import { ApiError } from './bucket.ts';

export interface Upload {
  /** As the metadata say; else the query has it. */
  readonly name: string | undefined;
  readonly crc32c: string | undefined;
  readonly bytes: Buffer;
}

/** The body of an upload: content alone (media), or metadata and content (multipart/related). */
export function parseUpload(headers: IncomingHttpHeaders, query: URLSearchParams, body: Buffer): Upload {
  const kind = query.get('uploadType');
  if (kind === 'media') {
    const [, crc32c] = /crc32c=([^,\s]+)/.exec(String(headers['x-goog-hash'] ?? '')) ?? [];
    return { name: undefined, crc32c, bytes: body };
  }
  const [, boundary] = /^multipart\/related;.*boundary="?([^";]+)/i.exec(headers['content-type'] ?? '') ?? [];
  if (kind !== 'multipart' || boundary === undefined)
    throw new ApiError(400, `uploadType ${kind} is not scripted`);
  return parseMultipart(body, `--${boundary}`);
}

function parseMultipart(body: Buffer, delimiter: string): Upload {
  const first = contentAfter(body, body.indexOf(delimiter));
  const middle = body.indexOf(`\r\n${delimiter}`, first);
  const second = contentAfter(body, middle + 2);
  const end = body.lastIndexOf(`\r\n${delimiter}--`);
  if (middle < first || end < second) throw new ApiError(400, 'Malformed multipart body.');
  const metadata = JSON.parse(body.toString('utf8', first, middle)) as { name?: string; crc32c?: string };
  return { name: metadata.name, crc32c: metadata.crc32c, bytes: body.subarray(second, end) };
}

/** Where the part that begins at a delimiter has its content: after the headers' empty line. */
function contentAfter(body: Buffer, delimiter: number): number {
  const headersEnd = delimiter < 0 ? -1 : body.indexOf('\r\n\r\n', delimiter);
  if (headersEnd < 0) throw new ApiError(400, 'Malformed multipart body.');
  return headersEnd + 4;
}
