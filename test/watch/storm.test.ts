import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, chmodSync, linkSync, mkdirSync, renameSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from 'vitest';
import { FanotifySource } from '../../libs/watch/fanotify/fanotify-source.ts';
import { InotifySource } from '../../libs/watch/inotify/inotify-source.ts';
import { PollSource } from '../../libs/watch/poll/poll-source.ts';
import { type Start, WatchRig } from '../../libs/watch/watch-rig.suite.ts';
import { Mirror } from './mirror.ts';

const SCRIPT = join(import.meta.dirname, 'storm-process.ts');
const SEEDS = process.env.TIDEMARK_STORM_SEEDS?.split(',').map(Number) ?? [1, 2];
const OPERATIONS = 250;
/** Many short ones: what was missed is hidden once its surroundings have changed again. */
const ROUNDS = 10;
const WRITERS = 3;

const SOURCES: { kind: string; start: Start }[] = [
  { kind: 'fanotify', start: (options) => FanotifySource.start(options) },
  { kind: 'inotify', start: (options) => InotifySource.start(options) },
  { kind: 'poll', start: (options) => PollSource.start({ ...options, intervalMs: 50, now: Date.now }) },
];

async function storm(rig: WatchRig, seed: number, operations: number): Promise<void> {
  const outside = join(rig.home, 'outside');
  mkdirSync(outside, { recursive: true });
  const writers = Array.from({ length: WRITERS }, (_, i) =>
    spawn(process.execPath, [SCRIPT, rig.tree, outside, `${seed * 100 + i}`, `${operations}`], {
      stdio: 'inherit',
    }),
  );
  const codes = await Promise.all(writers.map(async (writer) => (await once(writer, 'exit'))[0]));
  expect(codes).toEqual(writers.map(() => 0));
}

const DEADLINE = 120_000;

async function mirrored(start: Start): Promise<{ rig: WatchRig; mirror: Mirror }> {
  const rig = new WatchRig(start);
  await storm(rig, 1000, 1000);
  await rig.watch();
  const mirror = new Mirror(rig.tree);
  rig.onBatch = (batch) => mirror.take(batch);
  await rig.follow();
  return { rig, mirror };
}

/** Until the mirror is as the tree, which nothing changes any more. */
async function known(rig: WatchRig, mirror: Mirror): Promise<void> {
  await rig.settled();
  const tree = new Mirror(rig.tree).fingerprints();
  await rig.until(
    () => isDeepStrictEqual(mirror.fingerprints(), tree),
    () => expect(mirror.fingerprints()).toEqual(tree),
  );
}

describe.each(SOURCES)('$kind: random changes at full speed', ({ kind, start }) => {
  it.each(SEEDS)(
    'who looks where it says knows the whole tree, seed %i',
    async (seed) => {
      const { rig, mirror } = await mirrored(start);
      const before = mirror.fingerprints();
      for (let round = 0; round < ROUNDS; round++) {
        await storm(rig, seed * 10 + round, OPERATIONS);
        await known(rig, mirror);
      }
      expect(mirror.size).toBeGreaterThan(50);
      expect(mirror.fingerprints()).not.toEqual(before);
    },
    DEADLINE,
  );

  it(
    'what is written through one name of a file is seen for all of them, wherever they were moved',
    async () => {
      const { rig, mirror } = await mirrored(start);
      const { files } = mirror;
      expect(files.length).toBeGreaterThan(20);
      const at = (path: string): string => join(rig.tree, path);
      const linkOf = (_: string, i: number): string => at(`link-${i}`);
      const links = files.map(linkOf);
      files.forEach((path, i) => {
        linkSync(at(path), links[i]!);
      });
      await known(rig, mirror);
      for (const link of links) appendFileSync(link, 'through the link');
      await known(rig, mirror);
      mkdirSync(at('moved'));
      for (const [i, link] of links.entries()) renameSync(link, at(`moved/${i}`));
      await known(rig, mirror);
      for (const path of files) chmodSync(at(path), 0o600);
      await known(rig, mirror);
      for (const [i] of links.entries()) {
        appendFileSync(at(`moved/${i}`), 'and gone');
        unlinkSync(at(`moved/${i}`));
      }
      await known(rig, mirror);
    },
    DEADLINE,
  );

  // The others can't tell whose inode it was (libs/watch/port.ts, "A limit").
  if (kind === 'fanotify')
    it(
      'what is written through a name that is gone before anybody looks is seen where the file still is',
      async () => {
        const { rig, mirror } = await mirrored(start);
        const { files } = mirror;
        expect(files.length).toBeGreaterThan(20);
        for (const [i, path] of files.entries()) {
          const link = join(rig.tree, `brief-${i % 3}`);
          linkSync(join(rig.tree, path), link);
          appendFileSync(link, 'and gone');
          if (i % 2 === 0) unlinkSync(link);
          else renameSync(link, join(rig.tree, 'taken'));
        }
        await known(rig, mirror);
      },
      DEADLINE,
    );

  it(
    'what happens after a storm is still seen everywhere',
    async () => {
      const { rig, mirror } = await mirrored(start);
      await storm(rig, 77, OPERATIONS);
      await known(rig, mirror);
      await rig.forget();
      const { directories } = mirror;
      expect(directories.length).toBeGreaterThan(20);
      for (const path of directories) rig.write(join(path, 'after'));
      await rig.until(({ entries }) => directories.every((path) => entries.has(join(path, 'after'))));
    },
    DEADLINE,
  );
});
