import { describe, expect, it } from 'vitest';
import { changedMounts, mountsBelow, parseMounts } from './mounts.ts';

const MOUNTINFO = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
36 22 0:33 / /data/a\\040b rw shared:2 master:1 - tmpfs tmpfs rw
40 36 0:34 / /data/a\\040b/\\134n\\012\\377 rw - nfs4 host:/ - rw
41 22 0:35 / /database rw - tmpfs tmpfs rw
`;

describe('mounts', () => {
  const mounts = parseMounts(MOUNTINFO);

  it('are read with any bytes in their names and any number of optional fields', () => {
    expect(mounts).toEqual([
      { id: 22n, point: '/', device: '254:0', type: 'ext4' },
      { id: 36n, point: '/data/a b', device: '0:33', type: 'tmpfs' },
      { id: 40n, point: '/data/a b/\\n\n\xff', device: '0:34', type: 'nfs4' },
      { id: 41n, point: '/database', device: '0:35', type: 'tmpfs' },
    ]);
  });

  it('are below a root by whole names, the root itself not', () => {
    expect([...mountsBelow('/data', mounts).keys()]).toEqual(['a b', 'a b\0\\n\n\xff']);
    expect([...mountsBelow('/data/a b', mounts).keys()]).toEqual(['\\n\n\xff']);
    expect(mountsBelow('/', mounts).size).toBe(3);
  });

  it('have changed where one came, went or is another one', () => {
    const before = mountsBelow('/', mounts);
    const now = mountsBelow('/', [
      { id: 50n, point: '/database', device: '0:35', type: 'tmpfs' },
      { id: 36n, point: '/data/a b', device: '0:33', type: 'tmpfs' },
      { id: 51n, point: '/new', device: '0:36', type: 'tmpfs' },
    ]);
    expect(changedMounts(before, now).sort()).toEqual(['data\0a b\0\\n\n\xff', 'database', 'new']);
    expect(changedMounts(now, now)).toEqual([]);
  });
});
