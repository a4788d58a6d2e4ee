import fc from 'fast-check';
import { test } from 'vitest';
import { Place } from '../command.ts';
import { Model } from './model.ts';
import { type Step, steps, type World } from './steps.ts';

/** A longer hunt: TIDEMARK_MODEL_RUNS=200 npm test -- test/model; TIDEMARK_MODEL_SHRINK=1 looks for the shortest failure. */
const RUNS = Number(process.env.TIDEMARK_MODEL_RUNS ?? 12);
const SEED = Number(process.env.TIDEMARK_MODEL_SEED ?? Date.now() % 2 ** 31);
const PATH = process.env.TIDEMARK_MODEL_PATH;
const HOUR = 3_600_000;

async function runSteps(all: readonly Step[]): Promise<void> {
  const place = await Place.make('model');
  try {
    await place.ok(['init']);
    const world: World = { place, models: [new Model(place, 'one'), new Model(place, 'two')] };
    for (const { source, edits, action } of all) {
      const model = world.models[source]!;
      for (const edit of edits) edit.apply(model.source);
      await action.run(world, model);
    }
    await expectAllRestores(world);
  } finally {
    await place.dispose();
  }
}

async function expectAllRestores({ place, models }: World): Promise<void> {
  await place.ok(['verify', '--read-data']);
  for (const model of models) {
    if (model.committed.length > 0) await model.list();
    for (const one of model.committed) await model.restore(one);
  }
}

test('whatever happens to a tree and to the command, every committed backup restores exactly', {
  timeout: HOUR * 3,
}, async () => {
  await fc.assert(fc.asyncProperty(steps, runSteps), {
    numRuns: RUNS,
    seed: SEED,
    ...(PATH ? { path: PATH } : {}),
    endOnFailure: !process.env.TIDEMARK_MODEL_SHRINK,
    interruptAfterTimeLimit: HOUR,
    markInterruptAsFailure: true,
  });
});
