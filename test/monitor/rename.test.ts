import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { Place } from '../command.ts';
import { test } from '../needs.ts';
import { Opened } from './opened.ts';
import { caughtUp, expectRestores, ownFileSystem, Watch } from './rig.ts';
import { makeTree } from './tree.ts';

/** `TIDEMARK_RENAME_FILES=100000` is the full size, and prints what it cost. */
const FULL_FILES = Number(process.env.TIDEMARK_RENAME_FILES ?? 0);
const FILES = FULL_FILES || 3000;
const DIRECTORIES = 50;
/** Seconds of CPU so far (proc_pid_stat(5): utime and stime, in hundredths), and the peak of its memory in MB. */
function costOf(pid: number): { cpu: number; peakMb: number } {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]!.split(' ');
  const [, peak] = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))!;
  return { cpu: (Number(fields[11]) + Number(fields[12])) / 100, peakMb: Math.round(Number(peak) / 1024) };
}

test(`a directory of ${FILES} files that is renamed costs no reading of content`, {
  timeout: 1_200_000,
}, async () => {
  const place = await Place.make('rename');
  onTestFinished(() => place.dispose());
  const tree = place.path('tree');
  const [old, renamed] = [join(tree, 'old'), join(tree, 'other', 'renamed')];
  ownFileSystem(tree);
  makeTree(old, FILES, FILES / DIRECTORIES);
  mkdirSync(join(tree, 'other'));
  const watch = new Watch(place, [tree, '--every', '1s']);
  onTestFinished(async () => {
    await watch.stop('SIGKILL');
  });
  await watch.watching();
  const opened = new Opened(tree);
  onTestFinished(() => opened.close());

  const before = costOf(watch.pid);
  const [began, from] = [performance.now(), watch.lines.length];
  renameSync(old, renamed);
  const commit = await watch.line(({ type }) => type === 'commit', from);
  const [seconds, after] = [(performance.now() - began) / 1000, costOf(watch.pid)];
  await caughtUp(place, tree);
  expect(opened.take()).toEqual([]);
  const made = watch.lines.slice(from).filter(({ type }) => type === 'commit');
  expect(made.map(({ reason, newBytes }) => [reason, newBytes])).toEqual([['changes', 0]]);
  expect(Number(commit.added)).toBeGreaterThanOrEqual(FILES);

  writeFileSync(join(renamed, 'd0', 'e0', 'f1'), 'changed');
  opened.take();
  const last = await caughtUp(place, tree);
  expect(opened.take()).toEqual(['f1']);
  expect(await watch.stop(), watch.told).toBe(0);
  await expectRestores(place, last, tree, tree);
  if (FULL_FILES)
    process.stdout.write(
      `${FILES} files renamed: committed after ${seconds.toFixed(1)} s, ` +
        `${(after.cpu - before.cpu).toFixed(1)} s of CPU, peak ${before.peakMb} -> ${after.peakMb} MB\n`,
    );
});
