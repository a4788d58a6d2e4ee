import { FAN, fanotifyInit, fanotifyMarkFileSystem, mayOpenHandles } from '../posix/fanotify.ts';
import { close, errnoName, O_PATH } from '../posix/index.ts';
import { IN, inotifyInit, inotifyWatch } from '../posix/inotify.ts';
import { isView, type Mount } from './mounts.ts';
import type { EventSource, WatchOptions } from './port.ts';
import { Root } from './root.ts';

export interface SourceChoice {
  readonly kind: EventSource['kind'];
  /** For `doctor` and the log. */
  readonly reason: string;
}

export interface SourceFacts {
  /** What the root lies on; undefined where the system doesn't tell. */
  readonly mount: Mount | undefined;
  /** Mounted below the root. */
  readonly below: readonly Mount[];
  /** Why each can't be used on this root: the name of an error; undefined when it can. */
  readonly fanotify: string | undefined;
  readonly inotify: string | undefined;
}

/** File systems that others change without this kernel's knowledge, as `mount -t` names them. */
const SHARED: ReadonlySet<string> = new Set(
  'nfs nfs4 cifs smb3 smbfs ceph afs 9p virtiofs vboxsf prl_fs lustre gfs2 ocfs2 glusterfs beegfs fuse'.split(
    ' ',
  ),
);

const isShared = ({ type }: Mount): boolean => SHARED.has(type) || type.startsWith('fuse.');

/** Which source sees every change below a root, for the least that it costs. */
export function planSource({ mount, below, fanotify, inotify }: SourceFacts): SourceChoice {
  const real = below.filter((one) => !isView(one));
  const shared = [...(mount ? [mount] : []), ...real].find(isShared);
  if (shared)
    return poll(`${shared.point} is ${shared.type}, which others may change without this kernel's knowledge`);
  const devices = [...(mount ? [mount] : []), ...real].map(({ device }) => device);
  const twice = real.find(({ device }) => devices.filter((one) => one === device).length > 1);
  if (twice)
    return poll(
      `${twice.point} shows a file system that is seen elsewhere below the root too: a change has two places`,
    );
  if (fanotify === undefined)
    return { kind: 'fanotify', reason: 'one mark on the file system, no watch per folder' };
  if (inotify === undefined)
    return { kind: 'inotify', reason: `a watch per folder, since fanotify can't be used (${fanotify})` };
  return poll(`neither fanotify (${fanotify}) nor inotify (${inotify}) can be used`);
}

const poll = (reason: string): SourceChoice => ({ kind: 'poll', reason });

/** Looks, and leaves nothing behind. A limit of inotify may still be met later: see `watch-limit`. */
export function chooseSource(options: Pick<WatchOptions, 'rootFd' | 'rootPath'>): SourceChoice {
  const root = new Root(options);
  return planSource({
    mount: root.mount(),
    below: [...root.mounts().values()],
    fanotify: tried(fanotifyInit(), (fd) => {
      const error = fanotifyMarkFileSystem(fd, FAN.create, options.rootFd);
      return error < 0 ? error : mayOpenHandles(options.rootFd, O_PATH);
    }),
    inotify: tried(inotifyInit(), (fd) => inotifyWatch(fd, options.rootFd, IN.create)),
  });
}

function tried(fd: number, use: (fd: number) => number): string | undefined {
  if (fd < 0) return errnoName(fd);
  const result = use(fd);
  close(fd);
  return result < 0 ? errnoName(result) : undefined;
}
