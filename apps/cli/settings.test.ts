import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { argumentTexts } from './argument-bytes.ts';
import { formatBytes, formatDuration, messageToDisplay } from './display.ts';
import { DECLARED, KEYS, SERVE_VARIABLES, unknownVariables } from './options.ts';
import { progressJson, progressText, RateMeter, secondsLeft } from './progress.ts';
import { readServeConfig, SERVE } from './serve-config.ts';
import { settingsOf } from './settings.ts';

test('options win over variables, variables over defaults, and an empty variable is none', () => {
  const env = { TIDEMARK_HOME: '/env/home', TIDEMARK_THREADS: '3', TIDEMARK_JSON: '1', TIDEMARK_STORE: '' };
  const settings = settingsOf({ home: '/option/home', progress: true }, env);
  expect(settings).toMatchObject({
    home: '/option/home',
    storeUrl: 'file:///option/home/store',
    threads: 3,
    json: true,
    quiet: false,
    progress: true,
    limits: { upload: undefined, download: undefined },
  });
  expect(settings.compression).toBe('fast');
  expect(settingsOf({ compression: 'off' }, { TIDEMARK_COMPRESSION: 'better' }).compression).toBe('off');
  expect(settingsOf({ progress: false }, env).progress).toBe(false);
  expect(settingsOf({ progress: true }, { TIDEMARK_NO_PROGRESS: '1' }).progress).toBe(false);
  expect(settingsOf({}, { XDG_DATA_HOME: '/x' }).home).toBe(
    process.getuid?.() === 0 ? '/var/lib/tidemark' : '/x/tidemark',
  );
});

test.each([
  ['TIDEMARK_JSON', 'yes'],
  ['TIDEMARK_QUIET', '2'],
  ['TIDEMARK_VERBOSE', 'on'],
  ['TIDEMARK_NO_PROGRESS', 'x'],
  ['TIDEMARK_YES', 'y'],
  ['TIDEMARK_THREADS', '0'],
  ['TIDEMARK_THREADS', '65'],
  ['TIDEMARK_COMPRESSION', 'best'],
  ['TIDEMARK_LIMIT_UPLOAD', '10X'],
  ['TIDEMARK_LIMIT_UPLOAD', '0'],
  ['TIDEMARK_LIMIT_DOWNLOAD', '-1'],
  ['TIDEMARK_STORE', 'ftp://host/dir'],
  ['TIDEMARK_STORE', 'gs://Bucket/dir'],
  ['TIDEMARK_STORE', 'gs://bucket//dir'],
  ['TIDEMARK_GCS_ENDPOINT', '127.0.0.1:4443'],
  ['TIDEMARK_GCS_ENDPOINT', 'http://host/path'],
  ['TIDEMARK_STORE', 'file://host/dir'],
  ['TIDEMARK_SERVER', 'host:7420'],
  ['TIDEMARK_HOME', 'a\udcff'],
  ['TIDEMARK_PG_IDLE_SECONDS', 'soon'],
])('%s=%s is refused by name', (variable, value) => {
  expect(() => settingsOf({}, { [variable]: value })).toThrow(
    expect.objectContaining({ code: 'TM1002', message: expect.stringContaining(`${variable}=${value}`) }),
  );
});

test('a bad value of an option is refused by the option’s name, secrets are not shown', () => {
  expect(() => settingsOf({ threads: 'many' }, {})).toThrow('--threads=many: expected a whole number');
  for (const server of ['host:1', 'ftp://host', 'https://me:secret@host', 'https://host/?token=1'])
    expect(() => settingsOf({ server }, {}), server).toThrow('expected http(s)://HOST:PORT');
  expect(() => settingsOf({ store: '' }, {})).toThrow('--store=: expected a value');
  const url = { TIDEMARK_REGISTRY_URL: 'mysql://me:very-secret@host/db' };
  expect(() => settingsOf({}, url)).toThrow('TIDEMARK_REGISTRY_URL: expected postgres://');
  expect(() => settingsOf({}, url)).not.toThrow('very-secret');
});

test('a bucket is a store, an emulator is named apart', () => {
  const env = { TIDEMARK_STORE: 'gs://bucket/some/prefix', TIDEMARK_GCS_ENDPOINT: 'http://127.0.0.1:4443' };
  expect(settingsOf({}, env)).toMatchObject({
    storeUrl: 'gs://bucket/some/prefix',
    gcsEndpoint: 'http://127.0.0.1:4443',
  });
  expect(settingsOf({}, {}).gcsEndpoint).toBeUndefined();
});

test('rates are in bytes a second, with units of 1024', () => {
  const limit = (text: string) => settingsOf({ limitUpload: text }, {}).limits.upload;
  expect([limit('1000'), limit('512K'), limit('10M'), limit('1.5g')]).toEqual([
    1000, 524_288, 10_485_760, 1_610_612_736,
  ]);
});

test('unknown variables are found, known ones are not', () => {
  const env = Object.fromEntries(KEYS.map((key) => [DECLARED[key].variable, '1']));
  expect(unknownVariables({ ...env, TIDEMARK_STROE: 'x', PATH: '/bin' })).toEqual(['TIDEMARK_STROE']);
});

test('arguments keep bytes that Node lost', () => {
  const raw = Buffer.from('node\0--flag\0main.js\0backup\0/srv/\xff\0', 'latin1');
  const argv = ['/bin/node', 'main.js', 'backup', '/srv/\ufffd'];
  expect(argumentTexts(argv, () => raw)).toEqual(['/bin/node', 'main.js', 'backup', '/srv/\udcff']);
  const failing = () => {
    throw new Error('no /proc');
  };
  expect(argumentTexts(argv, failing)).toEqual(argv);
  expect(argumentTexts(argv, () => Buffer.from('something\0else\0'))).toEqual(argv);
  expect(argumentTexts(['/bin/node', 'main.js', 'ls', ''], failing)).toEqual([
    '/bin/node',
    'main.js',
    'ls',
    '',
  ]);
  const empty = Buffer.from('node\0main.js\0\0\xfe\0', 'latin1');
  expect(argumentTexts(['node', 'main.js', '', '\ufffd'], () => empty).slice(2)).toEqual(['', '\udcfe']);
});

test('the rate is that of the last seconds, and there is no estimate without a total', () => {
  let now = 0;
  const meter = new RateMeter(() => now);
  expect(meter.rate(0)).toBe(0);
  for (now = 1000; now <= 60_000; now += 1000) meter.rate(now < 30_000 ? 0 : (now - 30_000) * 2);
  now = 60_000;
  expect(meter.rate(60_000)).toBe(2000);
  expect(secondsLeft({ files: 1, bytes: 100, rate: 50 })).toBeUndefined();
  expect(secondsLeft({ files: 1, bytes: 100, totalBytes: 50, rate: 50 })).toBeUndefined();
  expect(secondsLeft({ files: 1, bytes: 100, totalBytes: 1100, rate: 300 })).toBe(4);
  const paced = { files: 3, bytes: 1024, totalBytes: 3072, rate: 1024 };
  expect(progressText(paced)).toBe('3 files, 1.0 KiB of 3.0 KiB, 1.0 KiB/s, 2 s left');
  expect(progressText({ ...paced, totalBytes: undefined })).toBe('3 files, 1.0 KiB, 1.0 KiB/s');
  expect(progressJson(paced)).toEqual({
    filesDone: 3,
    bytesDone: 1024,
    bytesTotal: 3072,
    bytesPerSecond: 1024,
    secondsLeft: 2,
  });
});

test('what people read', () => {
  expect([formatBytes(1023), formatBytes(1536), formatBytes(2 ** 41)]).toEqual([
    '1023 B',
    '1.5 KiB',
    '2.0 TiB',
  ]);
  expect([formatDuration(5.4), formatDuration(65), formatDuration(7380)]).toEqual([
    '5 s',
    '1:05 min',
    '2:03 h',
  ]);
  expect(messageToDisplay('a\u001b[31m\n\udcff\u202e\\ä')).toBe('a\\x1b[31m\\n\\xff\\u{202e}\\ä');
});

test('services are named with their tokens, which files hold for their owner only', () => {
  expect(settingsOf({}, { TIDEMARK_TOKEN: 'unused' }).server).toBeUndefined();
  const env = { TIDEMARK_SERVER: 'https://host:7420/', TIDEMARK_TOKEN: 'one', TIDEMARK_ENROL_TOKEN: 'two' };
  expect(settingsOf({}, env).server).toEqual({ url: 'https://host:7420', token: 'one', enrolToken: 'two' });
  const dir = mkdtempSync(join(tmpdir(), 'tidemark-settings-'));
  try {
    const file = join(dir, 'token');
    writeFileSync(file, 'three\n', { mode: 0o600 });
    const byFile = { TIDEMARK_SERVER: 'http://host', TIDEMARK_TOKEN_FILE: file };
    expect(settingsOf({}, byFile).server?.token).toBe('three');
    expect(settingsOf({}, { ...byFile, TIDEMARK_TOKEN: 'one' }).server?.token).toBe('one');
    chmodSync(file, 0o604);
    expect(() => settingsOf({}, byFile)).toThrow(expect.objectContaining({ code: 'TM1405' }));
    writeFileSync(file, '');
    chmodSync(file, 0o600);
    expect(() => settingsOf({}, byFile)).toThrow('the file is empty');
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('what `serve` reads is known to `doctor`, options win over variables, and all that is wrong is named', () => {
  const known = [...SERVE_VARIABLES, ...KEYS.map((key): string => DECLARED[key].variable), 'LOG_LEVEL'];
  for (const name of Object.keys(SERVE)) expect(known).toContain(name);
  for (const name of SERVE_VARIABLES) expect(Object.keys(SERVE)).toContain(name);
  expect(readServeConfig({}, { TIDEMARK_HOME: '/h' }).listen).toEqual({ host: '127.0.0.1', port: 7337 });
  const env = { TIDEMARK_LISTEN: '0.0.0.0:1', TIDEMARK_URL: 'http://here/' };
  const config = readServeConfig({ listen: '[::1]:0' }, env);
  expect(config.listen).toEqual({ host: '::1', port: 0 });
  expect(config.TIDEMARK_URL).toBe('http://here');
  const wrong = {
    TIDEMARK_LISTEN: 'here',
    TIDEMARK_ADMIN_TOKEN: 'short',
    TIDEMARK_DEFAULT_POLICY: '--fully',
  };
  for (const name of Object.keys(wrong))
    expect(() => readServeConfig({}, wrong)).toThrow(
      expect.objectContaining({ code: 'TM1002', message: expect.stringContaining(`${name}: `) }),
    );
});
