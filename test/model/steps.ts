import { readdirSync, rmSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import fc from 'fast-check';
import { embeddedPostgresStatus, stopEmbeddedPostgres } from '../../libs/registry/embedded/index.ts';
import type { Place } from '../command.ts';
import { type Edit, edits } from './edits.ts';
import { type Committed, expectTree, type Model } from './model.ts';
import { bytesOf, snapshot, within } from './snapshot.ts';

export interface World {
  readonly place: Place;
  readonly models: readonly Model[];
}

/** Something done to one source after a few edits; what it should have led to is checked at once. */
type Action = (world: World, model: Model) => Promise<void>;

export interface Step {
  readonly source: number;
  readonly edits: readonly Edit[];
  readonly action: { readonly run: Action };
}

const nat = fc.nat({ max: 997 });
const kind = fc.constantFrom(undefined, undefined, 'full', 'differential');

/** A differential without a baseline is wrong usage; the rest may be asked for at any time. */
const possible = (model: Model, asked: string | undefined): string | undefined =>
  asked === 'differential' && model.committed.length === 0 ? undefined : asked;

const oneOf = <T>(all: readonly T[], pick: number): T | undefined => all[pick % Math.max(1, all.length)];

const backup =
  ({ kind }: { kind: string | undefined }): Action =>
  async ({ place }, model) =>
    model.finish(await place.run(model.take(possible(model, kind))));

/** SIGKILL after so many ms, or once it has ended by itself. */
const killedBackup =
  ({ kind, delay }: { kind: string | undefined; delay: number }): Action =>
  async ({ place }, model) => {
    const running = place.start(model.take(possible(model, kind)));
    await Promise.race([wait(delay), running.ended]);
    running.kill();
    await running.ended;
    await model.list();
  };

function ofAny(work: (world: World, model: Model, one: Committed) => Promise<void>, pick: number): Action {
  return async (world, model) => {
    const one = oneOf(model.committed, pick);
    if (one) await work(world, model, one);
  };
}

const restoreOver = ({ first, second }: { first: number; second: number }): Action =>
  ofAny(async ({ place }, model, one) => {
    const target = model.newTarget();
    const before = oneOf(model.committed, first)!;
    await place.ok(['restore', before.label, '--source', model.source, '--to', target]);
    await model.restore(one, target, '--delete');
  }, second);

const killedRestore = ({ pick, delay }: { pick: number; delay: number }): Action =>
  ofAny(async ({ place }, model, one) => {
    const target = model.newTarget();
    const running = place.start(['restore', one.label, '--source', model.source, '--to', target]);
    await Promise.race([wait(delay), running.ended]);
    running.kill();
    await running.ended;
    await model.restore(one, target, '--delete');
  }, pick);

const restorePath = ({ pick, path }: { pick: number; path: number }): Action =>
  ofAny(async ({ place }, model, { label, tree }) => {
    const isText = (name: string): boolean => bytesOf(name).equals(Buffer.from(bytesOf(name).toString()));
    const chosen = oneOf([...tree.keys()].filter((name) => name !== '' && isText(name)).sort(), path)!;
    const target = model.newTarget();
    const name = bytesOf(chosen).toString();
    await place.ok(['restore', label, '--source', model.source, '--to', target, '--', name]);
    expectTree(`${name} of ${label}`, within(tree, chosen), within(snapshot(target), chosen));
    rmSync(target, { recursive: true, force: true });
  }, pick);

const restoreInPlace = ({ pick }: { pick: number }): Action =>
  ofAny(async ({ place }, model, { label, tree }) => {
    await place.ok(['restore', label, '--source', model.source, '--in-place', '--delete']);
    expectTree(`${label} restored in place`, tree, snapshot(model.source));
  }, pick);

async function verify({ place }: World): Promise<void> {
  await place.ok(['verify', '--read-data']);
}

/** The agent's state is a cache: removed or torn, it is rebuilt. */
const loseState =
  ({ torn }: { torn: boolean }): Action =>
  async ({ place }) => {
    const agent = join(place.home, 'agent');
    for (const file of readdirSync(agent).filter((name) => name.endsWith('.state'))) {
      if (torn) truncateSync(join(agent, file), 600);
      else rmSync(join(agent, file));
    }
  };

async function crashServer({ place }: World): Promise<void> {
  const { pid } = await embeddedPostgresStatus(place.home);
  if (pid) process.kill(pid, 'SIGKILL');
}

/** Everything that is not the store or a key is lost, and comes back from the store. */
const loseRegistry: Action = async ({ place, models }) => {
  await stopEmbeddedPostgres(place.home);
  rmSync(join(place.home, 'registry'), { recursive: true });
  await place.ok(['registry', 'rebuild', '--take-over']);
  for (const model of models) await model.list();
};

const pin = ({ pick }: { pick: number }): Action =>
  ofAny(async ({ place }, model, { label }) => {
    await place.ok(['pin', label, '--source', model.source]);
    await model.list();
  }, pick);

const expire = ({ keep, prune }: { keep: number; prune: boolean }): Action => {
  return async ({ place }, model) => {
    if (model.committed.length === 0) return;
    await place.ok(['expire', model.source, '--keep-last', String(keep)]);
    await model.expired(keep);
    if (prune) await place.ok(['prune']);
  };
};

function step<T>(
  label: string,
  weight: number,
  args: { [K in keyof T]: fc.Arbitrary<T[K]> },
  toAction: (args: T) => Action,
): { weight: number; arbitrary: fc.Arbitrary<Step['action']> } {
  const made = (values: T) => ({
    run: toAction(values),
    [fc.toStringMethod]: () => `${label}${fc.stringify(values)}`,
  });
  return { weight, arbitrary: (fc.record(args, { noNullPrototype: true }) as fc.Arbitrary<T>).map(made) };
}

const ACTIONS = [
  step('backup', 7, { kind }, backup),
  step('killedBackup', 4, { kind, delay: fc.nat({ max: 800 }) }, killedBackup),
  step('restoreOver', 2, { first: nat, second: nat }, restoreOver),
  step('killedRestore', 1, { pick: nat, delay: fc.nat({ max: 400 }) }, killedRestore),
  step('restorePath', 2, { pick: nat, path: nat }, restorePath),
  step('restoreInPlace', 1, { pick: nat }, restoreInPlace),
  step('verify', 1, {}, () => verify),
  step('loseState', 1, { torn: fc.boolean() }, loseState),
  step('crashServer', 1, {}, () => crashServer),
  step('loseRegistry', 1, {}, () => loseRegistry),
  step('expire', 2, { keep: fc.integer({ min: 1, max: 4 }), prune: fc.boolean() }, expire),
  step('pin', 1, { pick: nat }, pin),
];

export const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    source: fc.constantFrom(0, 0, 0, 1),
    edits,
    action: fc.oneof(...ACTIONS),
  }),
  { minLength: 4, maxLength: 14, size: 'max' },
);
