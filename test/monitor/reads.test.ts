import {
  appendFileSync,
  closeSync,
  openSync,
  readdirSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { Place } from '../command.ts';
import { test } from '../needs.ts';
import { Opened } from './opened.ts';
import { caughtUp, expectRestores, ownFileSystem, Watch } from './rig.ts';
import { makeTree } from './tree.ts';

const TIMEOUT = { timeout: 240_000 };
const FILES = 200;

interface Counted {
  readonly place: Place;
  readonly tree: string;
  readonly opened: Opened;
  watch(): Promise<Watch>;
}

/** A tree in which every opening of a file is counted. */
async function counted(name: string): Promise<Counted> {
  const place = await Place.make(name);
  onTestFinished(() => place.dispose());
  const tree = place.path('tree');
  ownFileSystem(tree);
  makeTree(tree, FILES);
  const opened = new Opened(tree);
  onTestFinished(() => opened.close());
  return {
    place,
    tree,
    opened,
    async watch() {
      const watch = new Watch(place, [tree, '--every', '2s', '--settle', '1s']);
      onTestFinished(async () => {
        await watch.stop('SIGKILL');
      });
      await watch.watching();
      return watch;
    },
  };
}

test('a file that changes 1,000 times between two commits is read once', TIMEOUT, async () => {
  const { place, tree, opened, watch } = await counted('once');
  const running = await watch();
  const file = openSync(join(tree, 'd0', 'e0', 'f1'), 'a');
  opened.take();
  for (let i = 0; i < 1000; i++) writeSync(file, `change ${i}\n`);
  const label = await caughtUp(place, tree);
  closeSync(file);
  const { files, directories } = opened.takeAll();
  expect(files).toEqual(['f1']);
  expect(new Set(directories)).toEqual(new Set(['d0', 'e0'])); // nothing is walked
  await running.stop();
  await expectRestores(place, label, tree, tree);
});

test('after SIGKILL content is read only where metadata differs', TIMEOUT, async () => {
  const { place, tree, opened, watch } = await counted('metadata');
  const first = await watch();
  appendFileSync(join(tree, 'd0', 'e0', 'f2'), 'in the log of the state');
  await caughtUp(place, tree);
  await first.stop('SIGKILL');
  appendFileSync(join(tree, 'd0', 'e0', 'f1'), 'appended');
  utimesSync(join(tree, 'd0', 'e1', 'f51'), 1, 1);
  opened.take();
  const second = await watch();
  expect(new Set(opened.take())).toEqual(new Set(['f1', 'f51']));
  expect(second.commits).toMatchObject([{ reason: 'reconcile', changed: 1, metadata: 1 }]);
  const label = await caughtUp(place, tree);
  await second.stop();
  await expectRestores(place, label, tree, tree);
});

const BROKEN: Record<string, (file: string) => void> = {
  lost: (file) => rmSync(file),
  'cut short': (file) => truncateSync(file, 100),
  overwritten: (file) => writeFileSync(file, Buffer.alloc(5000, 0xa5)),
};

for (const [how, breakIt] of Object.entries(BROKEN))
  test(
    `a state that is ${how} is rebuilt from the registry: what differs is committed, and nothing else`,
    TIMEOUT,
    async () => {
      const { place, tree, watch } = await counted('state');
      const first = await watch();
      appendFileSync(join(tree, 'd0', 'e0', 'f2'), 'in the log of the state');
      await caughtUp(place, tree);
      await first.stop('SIGKILL');
      const agent = join(place.home, 'agent');
      const states = readdirSync(agent).filter((name) => /\.state(\.log)?$/.test(name));
      expect(states.length).toBeGreaterThan(0);
      for (const name of states) breakIt(join(agent, name));
      writeFileSync(join(tree, 'd0', 'e0', 'f1'), '12 new bytes');
      rmSync(join(tree, 'd0', 'e1', 'f51'));
      const second = await watch();
      expect(second.commits).toMatchObject([
        { reason: 'reconcile', kind: 'differential', added: 0, changed: 1, deleted: 1, newBytes: 12 },
      ]);
      writeFileSync(join(tree, 'd0', 'later'), 'x');
      const label = await caughtUp(place, tree);
      expect(second.commits.at(-1)).toMatchObject({ reason: 'changes' });
      await second.stop();
      await expectRestores(place, label, tree, tree);
    },
  );
