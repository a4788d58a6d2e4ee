import { linkSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished } from 'vitest';
import { Place } from '../command.ts';
import { test } from '../needs.ts';
import { caughtUp, copyOf, expectRestores, ownFileSystem, Watch, Writers } from './rig.ts';
import { makeTree, pathInTree } from './tree.ts';

/** The whole size takes some ten minutes: 60 s of storm in 50,000 files, and 20 kills. */
const IS_FULL = process.env.TIDEMARK_STORM_FULL === '1';
const FILES = IS_FULL ? 50_000 : 4000;
/** Of them: those that change once at most. */
const CALM_FILES = FILES / 2;
const STORM_MS = IS_FULL ? 60_000 : 12_000;
const PAUSES = IS_FULL ? 3 : 1;
const KILLS = IS_FULL ? 20 : 4;
const WRITERS = 4;
const SEED = Number(process.env.TIDEMARK_STORM_SEED ?? 1);
const TIMEOUT = IS_FULL ? 1_800_000 : 300_000;

async function placeWithTree(name: string): Promise<{ place: Place; tree: string }> {
  const place = await Place.make(name);
  onTestFinished(() => place.dispose());
  const tree = place.path('tree');
  ownFileSystem(tree);
  makeTree(join(tree, 'storm'), FILES - CALM_FILES);
  makeTree(join(tree, 'calm'), CALM_FILES);
  mkdirSync(join(tree, 'calm', 'links'));
  for (let i = 0; i < CALM_FILES; i += 5)
    linkSync(pathInTree(join(tree, 'calm'), i), join(tree, 'calm', 'links', `${i}`));
  return { place, tree };
}

function useWatch(place: Place, tree: string): Watch {
  const watch = new Watch(place, [tree, '--every', '1s']);
  onTestFinished(async () => {
    await watch.stop('SIGKILL');
  });
  return watch;
}

function useWriters(tree: string): Writers {
  const writers = new Writers(tree, WRITERS, SEED);
  onTestFinished(() => writers.kill());
  return writers;
}

/** What is committed by now, with a copy of what was there. */
interface Point {
  readonly label: string;
  readonly copy: string;
}

/** The writers rest until everything is committed. */
async function keep(place: Place, tree: string, points: Point[]): Promise<void> {
  const label = await caughtUp(place, tree);
  const copy = place.path(`copy${points.length}`);
  copyOf(tree, copy);
  points.push({ label, copy });
}

async function expectAllRestored(place: Place, tree: string, points: readonly Point[]): Promise<void> {
  for (const { label, copy } of points) await expectRestores(place, label, tree, copy);
}

test('a storm: what is committed at pauses and at the end restores to exactly what was there', {
  timeout: TIMEOUT,
}, async () => {
  const { place, tree } = await placeWithTree('storm');
  const watch = useWatch(place, tree);
  await watch.watching();
  const writers = useWriters(tree);
  const points: Point[] = [];
  for (let i = 0; i < PAUSES; i++) {
    await sleep(STORM_MS / (PAUSES + 1));
    await writers.pause();
    await keep(place, tree, points);
    writers.resume();
  }
  await sleep(STORM_MS / (PAUSES + 1));
  await writers.stop();
  await keep(place, tree, points);
  const reasons = watch.commits.map(({ reason }) => reason);
  expect(reasons.filter((reason) => reason === 'changes').length).toBeGreaterThan(PAUSES);
  expect(await watch.stop(), watch.told).toBe(0);
  await expectAllRestored(place, tree, points);
});

test('a watch that is killed again and again in a storm loses nothing', { timeout: TIMEOUT }, async () => {
  const { place, tree } = await placeWithTree('storm-kill');
  let watch = useWatch(place, tree);
  await watch.watching();
  const writers = useWriters(tree);
  const points: Point[] = [];
  for (let i = 1; i <= KILLS; i++) {
    await sleep(200 + ((SEED * 7919 + i * 104_729) % 3000));
    await watch.stop('SIGKILL');
    watch = useWatch(place, tree);
    if (i % (KILLS / (PAUSES + 1)) > 0) continue;
    await writers.pause();
    await watch.watching();
    await keep(place, tree, points);
    if (i < KILLS) writers.resume();
  }
  await writers.stop();
  const { lines } = await place.ok(['coverage', tree]);
  const told = lines.filter(({ kind }) => kind === 'gap').flatMap(({ gaps }) => gaps as { reason: string }[]);
  expect(told.map(({ reason }) => reason)).toContain('agent-down');
  await watch.stop();
  await expectAllRestored(place, tree, points);
});
