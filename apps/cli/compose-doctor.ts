import { accessSync, constants, readdirSync, readFileSync, statfsSync, statSync } from 'node:fs';
import { release } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { checkClock } from '../../libs/doctor/clock.ts';
import { checkEnvironment } from '../../libs/doctor/environment.ts';
import { type Finding, failedBy } from '../../libs/doctor/finding.ts';
import { checkHome, type FolderFacts, type HomeFacts } from '../../libs/doctor/home.ts';
import { checkHost, type HostFacts } from '../../libs/doctor/host.ts';
import { checkIdentity } from '../../libs/doctor/identity.ts';
import { checkRegistry, type RegistryFacts } from '../../libs/doctor/registry.ts';
import { checkStore, type StoreFacts } from '../../libs/doctor/store.ts';
import { checkVersions } from '../../libs/doctor/versions.ts';
import { checkWatch } from '../../libs/doctor/watch.ts';
import { findDomainSecret } from '../../libs/embedded/domain-files.ts';
import { storeFolder } from '../../libs/embedded/own-folders.ts';
import { PINNED_NODE, VERSION } from '../../libs/model/version.ts';
import { close, EOPNOTSUPP, listXattrs, missingSystemCalls, O_RDONLY, open } from '../../libs/posix/index.ts';
import {
  acquireEmbeddedPostgres,
  embeddedPostgresStatus,
  embeddedPostgresVersion,
} from '../../libs/registry/embedded/index.ts';
import { type PostgresProbe, probePostgres } from '../../libs/registry/postgres/probe.ts';
import { openStore } from '../../libs/store/open-store.ts';
import { currentOwner } from '../../libs/store/owner.ts';
import { readStoreIdentity } from '../../libs/store/store-identity.ts';
import { unknownVariables } from './options.ts';
import type { Settings } from './settings.ts';
import { inotifyWatches, watchFacts } from './watch-facts.ts';

/**
 * Looks at everything and never makes anything: an embedded Postgres is started only where one was made before. What
 * can't be looked at is a finding, too. `dir`: how this folder would be watched; else those that were backed up.
 */
export async function* examine(
  settings: Settings,
  env: NodeJS.ProcessEnv,
  dir?: string,
): AsyncGenerator<Finding> {
  yield* check('tidemark', () => checkVersions(versionFacts()));
  yield* check('environment', () =>
    checkEnvironment({ unknown: unknownVariables(env), kafkaBrokers: settings.kafkaBrokers }),
  );
  yield* check('host', () => checkHost(hostFacts(settings.home, env.PATH ?? '')));
  yield* check('home', async () => checkHome(await homeFacts(settings.home)));
  const { facts, probe } = await registryFacts(settings);
  yield* check('registry', () => checkRegistry(facts));
  const now = new Date();
  yield* check('clock', () => checkClock({ now, postgres: probe?.now, lastBackup: probe?.lastBackup }));
  const known = facts.failure === undefined ? probe?.store : 'unknown';
  const store = await storeFacts(settings, known);
  yield* check('store', () => checkStore(store));
  yield* check('identity', async () => checkIdentity(await identityFacts(settings, store)));
  yield* check('watch', async () =>
    (await watchFacts(settings.home, probe?.sources ?? [], dir)).map(checkWatch),
  );
}

async function* check(name: string, work: () => Finding[] | Promise<Finding[]>): AsyncGenerator<Finding> {
  try {
    yield* await work();
  } catch (error) {
    yield failedBy(name, error);
  }
}

function versionFacts() {
  Object.assign(process.report, { excludeNetwork: true }); // no look-ups of addresses
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  return {
    tidemark: VERSION,
    node: process.versions.node,
    pinnedNode: PINNED_NODE,
    platform: `${process.platform}-${process.arch}`,
    kernel: release(),
    glibc: header.glibcVersionRuntime,
  };
}

/** Undefined where it is not there. Throws what else lstat says. */
function folderFacts(path: string): FolderFacts | undefined {
  const info = statSync(path, { throwIfNoEntry: false });
  if (!info) return undefined;
  const { bavail, bsize, files, ffree } = statfsSync(path);
  return {
    path,
    isDirectory: info.isDirectory(),
    uid: info.uid,
    mode: info.mode & 0o7777,
    isWritable: isWritable(path),
    freeBytes: bavail * bsize,
    freeInodes: files === 0 ? undefined : ffree,
  };
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function ancestors(path: string): string[] {
  const all = [path];
  while (all.at(-1) !== '/') all.push(dirname(all.at(-1)!));
  return all;
}

function nearest(path: string): FolderFacts | undefined {
  for (const folder of ancestors(path)) {
    const facts = folderFacts(folder);
    if (facts) return facts;
  }
  return undefined;
}

async function homeFacts(home: string): Promise<HomeFacts> {
  const folder = folderFacts(home);
  const { socketPathBytes } = await embeddedPostgresStatus(home);
  const isClosed = (path: string) => ((statSync(path, { throwIfNoEntry: false })?.mode ?? 1) & 1) === 0;
  return {
    path: home,
    folder,
    above: folder ? undefined : nearest(dirname(home)),
    uid: process.geteuid!(),
    impassable: ancestors(home).filter(isClosed),
    socketPathBytes,
  };
}

function hostFacts(home: string, path: string): HostFacts {
  const inPath = (tool: string) =>
    path.split(delimiter).some((dir) => dir !== '' && isExecutable(join(dir, tool)));
  return {
    openFiles: openFilesLimit(readIfThere('/proc/self/limits')),
    inotifyWatches: inotifyWatches(),
    missingTools: ['sh', 'flock'].filter((tool) => !inPath(tool)),
    missingCalls: missingSystemCalls(),
    hasXattrs: hasXattrs(nearest(home)?.path ?? '/'),
  };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

const numberOf = (text: string | undefined): number | undefined =>
  text === undefined ? undefined : Number(text);

function openFilesLimit(limits: string | undefined): number | undefined {
  const soft = /^Max open files\s+(\S+)/m.exec(limits ?? '')?.[1];
  return soft === 'unlimited' ? Number.POSITIVE_INFINITY : numberOf(soft);
}

function hasXattrs(path: string): boolean {
  const fd = open(path, O_RDONLY);
  try {
    return listXattrs(fd) !== -EOPNOTSUPP;
  } finally {
    close(fd);
  }
}

async function registryFacts({
  home,
  registryUrl,
}: Settings): Promise<{ facts: RegistryFacts; probe: PostgresProbe | undefined }> {
  const kind = registryUrl === undefined ? 'embedded' : 'own';
  const binaries = embeddedPostgresVersion();
  let isInstalled = false;
  let logFile: string | undefined;
  let probe: PostgresProbe | undefined;
  let failure: unknown;
  try {
    if (registryUrl !== undefined) probe = await probePostgres(registryUrl);
    else {
      const status = await embeddedPostgresStatus(home);
      ({ installed: isInstalled, logFile } = status);
      if (isInstalled) probe = await probeEmbedded(home);
    }
  } catch (error) {
    failure = error;
  }
  return { facts: { kind, binaries, isInstalled, logFile, postgres: probe, failure }, probe };
}

async function probeEmbedded(home: string): Promise<PostgresProbe> {
  const postgres = await acquireEmbeddedPostgres({ home });
  try {
    return await probePostgres(postgres.connection);
  } finally {
    await postgres.release();
  }
}

async function storeFacts(settings: Settings, known: StoreFacts['known']): Promise<StoreFacts> {
  const { storeUrl: url, gcsEndpoint } = settings;
  const begin = performance.now();
  let milliseconds: number | undefined;
  let failure: unknown;
  let storeId: string | undefined;
  let owner: StoreFacts['owner'];
  try {
    const store = await openStore(url, { create: false, gcsEndpoint });
    storeId = (await readStoreIdentity(store))?.storeId;
    milliseconds = performance.now() - begin;
    if (storeId !== undefined) owner = await currentOwner(store);
    await store.close();
  } catch (error) {
    failure = error;
  }
  const path = storeFolder(url);
  const folder = failure === undefined && path !== undefined ? folderFacts(path) : undefined;
  const unwritable = folder ? foldersIn(folder.path).filter((path) => !isWritable(path)) : [];
  return { url, failure, milliseconds, storeId, owner, known, folder, unwritable };
}

/** The store's own and those in it in which new objects appear. */
function foldersIn(store: string): string[] {
  const below = (path: string): string[] =>
    readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(path, entry.name));
  try {
    const top = below(store);
    return [store, ...top, ...top.flatMap(below)];
  } catch {
    return [store];
  }
}

async function identityFacts(settings: Settings, { url, storeId }: StoreFacts) {
  const file = settings.identityFile ?? join(settings.home, 'identity');
  const info = statSync(file, { throwIfNoEntry: false });
  const facts = {
    file,
    isNamed: settings.identityFile !== undefined,
    isThere: info !== undefined,
    mode: info && info.mode & 0o7777,
    hasStore: storeId !== undefined,
    failure: undefined as unknown,
  };
  if (!facts.isThere || !facts.hasStore) return facts;
  try {
    const store = await openStore(url, { create: false, gcsEndpoint: settings.gcsEndpoint });
    await findDomainSecret({ identityFile: file }, store, settings);
  } catch (error) {
    facts.failure = error;
  }
  return facts;
}
