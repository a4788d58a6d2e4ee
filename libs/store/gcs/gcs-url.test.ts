import { expect, it } from 'vitest';
import { formatGcsUrl, parseGcsUrl } from './gcs-url.ts';

it('reads a bucket, and a prefix in it', () => {
  expect(parseGcsUrl('gs://my-bucket')).toEqual({ bucket: 'my-bucket', prefix: '' });
  expect(parseGcsUrl('gs://my-bucket/')).toEqual({ bucket: 'my-bucket', prefix: '' });
  expect(parseGcsUrl('gs://my.bucket_1/a/b.c/')).toEqual({ bucket: 'my.bucket_1', prefix: 'a/b.c/' });
  for (const url of ['gs://my-bucket', 'gs://my-bucket/a/b'])
    expect(formatGcsUrl(parseGcsUrl(url))).toBe(url);
});

it.each([
  'gs:',
  'gs://',
  'gs:///prefix',
  'gs://B/x',
  'gs://a',
  'gs://-bucket',
  'gs://bucket//x',
  'gs://bucket/x//',
  'gs://bucket/../x',
  'gs://bucket/a b',
  'gs://bucket/ä',
  'gs://bucket/x?y',
  'gs://bucket/x#y',
  'gs://user@bucket/x',
  'gs://bucket:80/x',
  `gs://bucket/${'a'.repeat(257)}`,
])('refuses %s', (url) => {
  expect(() => parseGcsUrl(url)).toThrow(expect.objectContaining({ code: 'TM1002' }));
});
