import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { Place } from '../command.ts';
import { test } from '../needs.ts';
import { caughtUp, expectRestores, Watch } from './rig.ts';
import { makeTree } from './tree.ts';

/** Of inotify and fanotify alike (inotify(7), fanotify(7)). */
const QUEUES = ['/proc/sys/fs/inotify/max_queued_events', '/proc/sys/fs/fanotify/max_queued_events'];
const queueLength = (): number => Math.max(...QUEUES.map((path) => Number(readFileSync(path, 'latin1'))));

interface Gap {
  readonly gap: number;
  readonly reason: string;
  readonly by?: string;
}

test('events that the kernel drops are a gap, which a reconcile closes without a stop of the watch', {
  timeout: 300_000,
}, async () => {
  const place = await Place.make('overflow');
  onTestFinished(() => place.dispose());
  const tree = place.path('tree');
  makeTree(tree, 500);
  const watch = new Watch(place, [tree, '--every', '1s']);
  onTestFinished(async () => {
    await watch.stop('SIGKILL');
  });
  await watch.watching();
  const before = watch.lines.length;
  watch.signal('SIGSTOP');
  // More than the queue holds, where it keeps one event for all that happens to a name.
  const names = queueLength() + 2000;
  for (let i = 0; i < names; i++) writeFileSync(join(tree, `n${i}`), `${i}`);
  for (let i = 0; i < names; i += 2) rmSync(join(tree, `n${i}`));
  watch.signal('SIGCONT');

  const opened = await watch.line(({ type, state }) => type === 'gap' && state === 'opened', before);
  expect(opened.reason).toBe('overflow');
  await watch.line(
    ({ type, state, gap }) => type === 'gap' && state === 'closed' && gap === opened.gap,
    before,
  );
  const label = await caughtUp(place, tree);
  expect(watch.lines.filter(({ type }) => type === 'watching')).toHaveLength(1);
  const { lines } = await place.ok(['coverage', tree]);
  const gaps = lines.filter(({ kind }) => kind === 'gap').flatMap((span) => span.gaps as Gap[]);
  const closed = gaps.find(({ gap }) => gap === opened.gap);
  expect(closed).toMatchObject({ reason: 'overflow', closed: expect.any(String), by: expect.any(String) });
  // Others on this file system can make the queue overflow once more: there may be several of the kind.
  const overflows = expect.arrayContaining(['overflow']);
  const closing = watch.commits.find(({ label }) => label === closed!.by);
  expect(closing).toMatchObject({ reason: 'reconcile', gaps: overflows });
  const backups = (await place.ok(['backups', tree])).lines;
  expect(backups).toContainEqual(expect.objectContaining({ label: closed!.by, gaps: overflows }));
  expect(await watch.stop(), watch.told).toBe(0);
  await expectRestores(place, label, tree, tree);
});
