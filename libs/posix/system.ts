import { FS_TYPE } from './constants.ts';
import { attempt, libc } from './libc.ts';
import { Scratch } from './scratch.ts';

export const getuid = (): number => libc.getuid();

export const geteuid = (): number => libc.geteuid();

/** struct statfs is 120 bytes on x64 and arm64 and begins with the type. */
const statfs = new Scratch(256);

/** Type of the file system that `fd` is on, one of FS_TYPE or another 32-bit number; or -errno. */
export function fstatfsType(fd: number): number {
  const result = attempt(() => libc.fstatfs(fd, statfs.address));
  return result < 0 ? result : statfs.bytes.readUInt32LE(0);
}

const NETWORK_TYPES: ReadonlySet<number> = new Set([
  FS_TYPE.nfs,
  FS_TYPE.smb,
  FS_TYPE.smb2,
  FS_TYPE.cifs,
  FS_TYPE.ceph,
  FS_TYPE.afs,
  FS_TYPE.v9fs,
  FS_TYPE.lustre,
]);

/** Whether other machines may change files there unseen. FUSE may be either and counts as local. */
export const isNetworkFs = (type: number): boolean => NETWORK_TYPES.has(type);
