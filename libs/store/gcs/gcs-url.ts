import { TmError } from '../../model/errors.ts';
import { isNameComponent } from '../object-name.ts';

const BUCKET = /^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$/;
const MAX_PREFIX_LENGTH = 256;

/** A place in a bucket: `prefix` is empty or ends in a slash. */
export interface GcsPlace {
  readonly bucket: string;
  readonly prefix: string;
}

/** Reads gs://bucket or gs://bucket/prefix. Throws TM1002 for a URL that names no place. */
export function parseGcsUrl(url: string): GcsPlace {
  const [, bucket = '', path = ''] = /^gs:\/\/([^/]+)(?:\/(.*))?$/.exec(url) ?? [];
  const prefix = path.replace(/\/$/, '');
  const isPlace = BUCKET.test(bucket) && prefix.length <= MAX_PREFIX_LENGTH;
  if (isPlace && (prefix === '' || prefix.split('/').every(isNameComponent)))
    return { bucket, prefix: prefix && `${prefix}/` };
  const what = 'gs://BUCKET/PREFIX, the prefix of letters, digits, - _ . and slashes';
  throw new TmError('TM1002', `store ${JSON.stringify(url)}: use ${what}`);
}

export const formatGcsUrl = ({ bucket, prefix }: GcsPlace): string =>
  `gs://${bucket}/${prefix}`.replace(/\/$/, '');
