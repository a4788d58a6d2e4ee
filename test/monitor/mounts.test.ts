import { execFileSync, spawnSync } from 'node:child_process';
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, type TestContext } from 'vitest';
import { whyNoMounts } from '../../libs/watch/mountable.suite.ts';
import { Place } from '../command.ts';
import { test } from '../needs.ts';
import { caughtUp, copyOf, expectRestores, ownFileSystem, Watch } from './rig.ts';
import { makeTree } from './tree.ts';

const TIMEOUT = { timeout: 240_000 };
const lacks = whyNoMounts();

/** A disk that can be mounted and unmounted, files and all. */
class Disk {
  readonly content: string;
  readonly point: string;

  constructor(place: Place, point: string) {
    this.content = place.path('disk');
    this.point = point;
    ownFileSystem(this.content);
    onTestFinished(() => void spawnSync('/bin/umount', ['--lazy', point]));
  }

  mount(): void {
    execFileSync('/bin/mount', ['--bind', this.content, this.point]);
  }

  unmount(): void {
    execFileSync('/bin/umount', [this.point]);
  }
}

async function started(place: Place, tree: string): Promise<Watch> {
  const watch = new Watch(place, [tree, '--every', '1s', '--settle', '200ms']);
  onTestFinished(async () => {
    await watch.stop('SIGKILL');
  });
  await watch.watching();
  return watch;
}

const skipped = (context: TestContext): boolean => {
  if (lacks !== undefined) context.skip(lacks);
  return lacks !== undefined;
};

test(
  'a root that is unmounted is waited for: nothing in it counts as deleted, and then the watch goes on',
  TIMEOUT,
  async (context) => {
    if (skipped(context)) return;
    const place = await Place.make('unmounted');
    onTestFinished(() => place.dispose());
    const tree = place.path('tree');
    mkdirSync(tree);
    const disk = new Disk(place, tree);
    makeTree(disk.content, 200);
    disk.mount();
    const watch = await started(place, tree);
    const before = watch.commits.length;
    disk.unmount();
    await watch.line(({ code, message }) => code === 'TM1122' && /unmounted/.test(String(message)));
    await watch.line(({ code }) => code === 'TM1105'); // the empty folder underneath is looked at, and refused
    appendFileSync(join(disk.content, 'd0', 'e0', 'f1'), 'meanwhile');
    expect(watch.commits.length).toBe(before);
    const { status } = await place.run(['backup', tree]);
    expect(status).toBe(1);
    const from = watch.lines.length;
    disk.mount();
    await watch.line(({ type }) => type === 'watching', from);
    const label = await caughtUp(place, tree);
    expect(watch.commits.at(-1)).toMatchObject({ deleted: 0, changed: 1 });
    await watch.stop();
    await expectRestores(place, label, tree, tree);
    const { lines } = await place.ok(['coverage', tree]);
    const gaps = lines
      .filter(({ kind }) => kind === 'gap')
      .flatMap((span) => span.gaps as { reason: string }[]);
    expect(gaps.map(({ reason }) => reason)).toContain('unmounted');
  },
);

test(
  'a file system below the root that goes keeps its last version in each backup until it is back',
  TIMEOUT,
  async (context) => {
    if (skipped(context)) return;
    const place = await Place.make('below');
    onTestFinished(() => place.dispose());
    const tree = place.path('tree');
    makeTree(tree, 50);
    const point = join(tree, 'm');
    mkdirSync(point);
    const disk = new Disk(place, point);
    makeTree(disk.content, 50);
    disk.mount();
    const watch = await started(place, tree);
    const copy = place.path('copy');
    copyOf(tree, copy);
    disk.unmount();
    await watch.line(
      ({ type, state, reason }) => type === 'gap' && state === 'closed' && reason === 'mount-changed',
    );
    for (const root of [tree, copy]) writeFileSync(join(root, 'd0', 'e0', 'f1'), 'while it is away');
    execFileSync('touch', ['-r', join(tree, 'd0', 'e0', 'f1'), join(copy, 'd0', 'e0', 'f1')]);
    const away = await caughtUp(place, tree);
    await expectRestores(place, away, tree, copy);
    appendFileSync(join(disk.content, 'd0', 'e0', 'f2'), 'on another host');
    const from = watch.lines.length;
    disk.mount();
    await watch.line(
      ({ type, state, reason }) => type === 'gap' && state === 'closed' && reason === 'mount-changed',
      from,
    );
    writeFileSync(join(point, 'later'), 'x');
    const label = await caughtUp(place, tree);
    expect(await watch.stop(), watch.told).toBe(0);
    await expectRestores(place, label, tree, tree);
  },
);
