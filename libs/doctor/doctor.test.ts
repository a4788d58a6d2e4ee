import { describe, expect, test } from 'vitest';
import { TmError } from '../model/errors.ts';
import { checkClock } from './clock.ts';
import { checkEnvironment } from './environment.ts';
import { type Finding, failedBy } from './finding.ts';
import { checkHome, type FolderFacts, type HomeFacts } from './home.ts';
import { checkHost, type HostFacts } from './host.ts';
import { checkIdentity, type IdentityFacts } from './identity.ts';
import { checkRegistry, type RegistryFacts } from './registry.ts';
import { checkStore, type StoreFacts } from './store.ts';
import { checkVersions, type VersionFacts } from './versions.ts';
import { checkWatch, type WatchFacts } from './watch.ts';

/** What is not well, as `name status`; and that it says what to do. */
function troubles(findings: readonly Finding[]): string[] {
  const bad = findings.filter((one) => one.status !== 'ok');
  for (const one of bad) expect(one.guidance, one.name).toMatch(/\w{3}/);
  for (const one of findings) expect(one.message, one.name).not.toMatch(/undefined|NaN/);
  return bad.map(({ name, status }) => `${name} ${status}`);
}

const FOLDER: FolderFacts = {
  path: '/home/me/.local/share/tidemark',
  isDirectory: true,
  uid: 1000,
  mode: 0o700,
  isWritable: true,
  freeBytes: 2 ** 40,
  freeInodes: 1e6,
};

describe('versions', () => {
  const facts: VersionFacts = {
    tidemark: '1.2.3',
    node: '24.21.0',
    pinnedNode: '24.21.0',
    platform: 'linux-x64',
    kernel: '6.1.0-18-amd64',
    glibc: '2.36',
  };
  test.each<[Partial<VersionFacts>, string[]]>([
    [{}, []],
    [{ node: '22.1.0' }, ['node warning']],
    [{ platform: 'darwin-arm64' }, ['platform failed']],
    [{ kernel: '5.4.0-150-generic' }, ['kernel warning']],
    [{ kernel: '5.10.0' }, []],
    [{ glibc: undefined }, ['glibc failed']],
    [{ glibc: '2.17' }, ['glibc failed']],
  ])('%o', (change, expected) => expect(troubles(checkVersions({ ...facts, ...change }))).toEqual(expected));
});

describe('watch', () => {
  const facts: WatchFacts = {
    root: '/srv',
    choice: { kind: 'inotify', reason: 'a watch per folder' },
    failure: undefined,
    directories: 1000,
    inotifyWatches: 65_536,
  };
  test.each<[Partial<WatchFacts>, string[]]>([
    [{}, []],
    [{ directories: undefined, inotifyWatches: undefined }, []],
    [{ inotifyWatches: undefined }, []],
    [{ directories: 52_428 }, []],
    [{ directories: 52_429 }, ['watch warning']],
    [{ choice: { kind: 'fanotify', reason: 'one mark' }, directories: 1e6 }, []],
    [{ choice: { kind: 'poll', reason: '/srv is nfs4' }, directories: 1e6 }, []],
    [{ choice: undefined, failure: 'ENOENT' }, ['watch warning']],
  ])('%o', (change, expected) => expect(troubles([checkWatch({ ...facts, ...change })])).toEqual(expected));

  test('the limit that would do is named', () => {
    expect(checkWatch({ ...facts, directories: 60_000 }).guidance).toContain('max_user_watches=131072 ');
    expect(checkWatch({ ...facts, choice: undefined, failure: 'ENOENT' }).message).toContain('ENOENT');
  });
});

describe('home', () => {
  const facts: HomeFacts = {
    path: FOLDER.path,
    folder: FOLDER,
    above: undefined,
    uid: 1000,
    impassable: [],
    socketPathBytes: 60,
  };
  const absent = { folder: undefined, above: { ...FOLDER, path: '/home/me' } };
  test.each<[string, Partial<HomeFacts>, string[]]>([
    ['sound', {}, []],
    [
      'long socket path, impassable: other ways are there',
      { socketPathBytes: 140, impassable: ['/root'] },
      [],
    ],
    ['not yet', absent, []],
    [
      'not yet and not to be',
      { ...absent, above: { ...FOLDER, path: '/', isWritable: false } },
      ['home failed'],
    ],
    ['a file', { folder: { ...FOLDER, isDirectory: false } }, ['home failed']],
    ['another user’s', { folder: { ...FOLDER, uid: 0 } }, ['home warning']],
    ['read-only', { folder: { ...FOLDER, isWritable: false } }, ['home failed']],
    ['open to others', { folder: { ...FOLDER, mode: 0o777 } }, ['home-mode failed']],
    ['little space', { folder: { ...FOLDER, freeBytes: 500e6 } }, ['home-space warning']],
    ['no space', { folder: { ...FOLDER, freeBytes: 1e6 } }, ['home-space failed']],
    ['few inodes', { folder: { ...FOLDER, freeInodes: 500 } }, ['home-inodes warning']],
    ['no inodes', { folder: { ...FOLDER, freeInodes: 0 } }, ['home-inodes failed']],
    ['inodes that nobody counts', { folder: { ...FOLDER, freeInodes: undefined } }, []],
  ])('%s', (_, change, expected) => expect(troubles(checkHome({ ...facts, ...change }))).toEqual(expected));
});

describe('identity', () => {
  const facts: IdentityFacts = {
    file: '/h/identity',
    isNamed: false,
    isThere: true,
    mode: 0o600,
    hasStore: true,
    failure: undefined,
  };
  test.each<[string, Partial<IdentityFacts>, string[]]>([
    ['opens the store', {}, []],
    ['not yet', { isThere: false, hasStore: false }, []],
    ['kept elsewhere', { isThere: false }, ['identity warning']],
    ['named and missing', { isThere: false, isNamed: true }, ['identity failed']],
    ['open to others', { mode: 0o640 }, ['identity failed']],
    ['another one', { failure: new TmError('TM1401') }, ['identity failed']],
  ])('%s', (_, change, expected) =>
    expect(troubles(checkIdentity({ ...facts, ...change }))).toEqual(expected),
  );
});

describe('store', () => {
  const known = { storeId: 's1', registryId: 'r1', ownerGeneration: 1 };
  const facts: StoreFacts = {
    url: 'file:///store',
    failure: undefined,
    milliseconds: 3,
    storeId: 's1',
    owner: { registryId: 'r1', generation: 1 },
    known,
    folder: { ...FOLDER, path: '/store' },
    unwritable: [],
  };
  const gone = { failure: new TmError('TM1202', '/store'), storeId: undefined, folder: undefined };
  const bucket = { url: 'gs://bucket/x', folder: undefined };
  const noBucket = { ...bucket, ...gone, milliseconds: undefined };
  test.each<[string, Partial<StoreFacts>, string[]]>([
    ['sound', {}, []],
    ['not yet', { ...gone, known: undefined }, []],
    ['an empty folder, not yet', { storeId: undefined, known: undefined }, []],
    ['missing', gone, ['store failed']],
    ['an empty folder where a store was', { storeId: undefined }, ['store failed']],
    ['unreadable', { ...gone, failure: new TmError('TM1201') }, ['store failed']],
    ['another one', { storeId: 's2' }, ['store failed']],
    ['unknown to an empty registry', { known: undefined }, ['store failed']],
    ['owned by another registry', { owner: { registryId: 'r2', generation: 2 } }, ['store-owner failed']],
    ['owned by nobody', { owner: undefined }, ['store-owner failed']],
    ['registry down', { known: 'unknown' }, []],
    ['read-only', { unwritable: ['/store/packs'] }, ['store-writable failed']],
    ['full', { folder: { ...FOLDER, freeBytes: 0 } }, ['store-space failed']],
    ['a bucket', { ...bucket, known: undefined, storeId: undefined }, []],
    [
      'a bucket that is missing',
      { ...noBucket, known: undefined },
      ['store-reachable failed', 'store failed'],
    ],
    [
      'a bucket out of reach',
      { ...noBucket, failure: new TmError('TM1201') },
      ['store-reachable failed', 'store failed'],
    ],
  ])('%s', (_, change, expected) => expect(troubles(checkStore({ ...facts, ...change }))).toEqual(expected));
});

describe('registry', () => {
  const postgres = { version: 180_004, hasTables: true, mayCreateTables: true };
  const facts: RegistryFacts = {
    kind: 'embedded',
    binaries: '18.4.0',
    isInstalled: true,
    logFile: '/h/registry/postgres.log',
    postgres,
    failure: undefined,
  };
  const own = { kind: 'own' as const, binaries: undefined, isInstalled: false, logFile: undefined };
  test.each<[string, Partial<RegistryFacts>, string[]]>([
    ['sound', {}, []],
    ['not yet', { isInstalled: false, postgres: undefined }, []],
    [
      'no binaries',
      { binaries: undefined, postgres: undefined, isInstalled: false },
      ['postgres-binaries failed'],
    ],
    ['does not start', { postgres: undefined, failure: new TmError('TM1302') }, ['registry failed']],
    ['own', own, []],
    [
      'own, unreachable',
      { ...own, postgres: undefined, failure: new TmError('TM1301') },
      ['registry failed'],
    ],
    ['own, old', { ...own, postgres: { ...postgres, version: 140_011 } }, ['registry failed']],
    [
      'own, no right to create',
      { ...own, postgres: { ...postgres, hasTables: false, mayCreateTables: false } },
      ['registry-tables failed'],
    ],
    [
      'own, right taken away',
      { ...own, postgres: { ...postgres, mayCreateTables: false } },
      ['registry-tables warning'],
    ],
  ])('%s', (_, change, expected) =>
    expect(troubles(checkRegistry({ ...facts, ...change }))).toEqual(expected),
  );
});

describe('clock', () => {
  const now = new Date('2026-11-24T12:00:00Z');
  const later = new Date('2026-11-24T12:01:00Z');
  test.each<[string, Parameters<typeof checkClock>[0], string[]]>([
    ['right', { now, postgres: now, lastBackup: now }, []],
    ['nothing to compare with', { now, postgres: undefined, lastBackup: undefined }, []],
    ['before the last backup', { now, postgres: now, lastBackup: later }, ['clock warning']],
    ['far in the past', { now: new Date(0), postgres: undefined, lastBackup: undefined }, ['clock warning']],
    ['skewed', { now, postgres: later, lastBackup: undefined }, ['clock-skew warning']],
  ])('%s', (_, facts, expected) => expect(troubles(checkClock(facts))).toEqual(expected));
});

describe('host', () => {
  const facts: HostFacts = {
    openFiles: 1024,
    inotifyWatches: 100_000,
    missingTools: [],
    missingCalls: [],
    hasXattrs: true,
  };
  test.each<[string, Partial<HostFacts>, string[]]>([
    ['sound', {}, []],
    ['unknown limits', { openFiles: undefined, inotifyWatches: undefined }, []],
    ['no limit', { openFiles: Number.POSITIVE_INFINITY }, []],
    ['few files', { openFiles: 256 }, ['open-files warning']],
    ['few watches', { inotifyWatches: 8192 }, ['inotify warning']],
    ['no flock', { missingTools: ['flock'] }, ['tools warning']],
    ['calls with a fallback', { missingCalls: ['openat2', 'fchmodat2'] }, []],
    ['no statx', { missingCalls: ['statx'] }, ['system-calls failed']],
    ['no attributes', { hasXattrs: false }, ['xattrs warning']],
  ])('%s', (_, change, expected) => expect(troubles(checkHost({ ...facts, ...change }))).toEqual(expected));
});

test('misspelt variables and settings for later are warned of', () => {
  expect(troubles(checkEnvironment({ unknown: [], kafkaBrokers: undefined }))).toEqual([]);
  const findings = checkEnvironment({ unknown: ['TIDEMARK_STROE'], kafkaBrokers: 'k:9092' });
  expect(troubles(findings)).toEqual(['environment warning', 'kafka warning']);
});

test('errors that are not ours are findings, too', () => {
  expect(failedBy('x', new Error('odd'))).toMatchObject({ status: 'failed', message: 'odd' });
  expect(failedBy('x', 'text')).toMatchObject({ status: 'failed', message: 'text' });
});
