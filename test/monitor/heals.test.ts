import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { Place } from '../command.ts';
import { test } from '../needs.ts';
import { expectRestores, Watch } from './rig.ts';

test('what the store has lost is stored anew by a watch, though nothing differs', {
  timeout: 120_000,
}, async () => {
  const place = await Place.make('heals');
  onTestFinished(() => place.dispose());
  const tree = place.path('tree');
  mkdirSync(tree, { recursive: true });
  for (let i = 0; i < 20; i++) writeFileSync(join(tree, `f${i}`), `content ${i} `.repeat(2000));
  await place.ok(['backup', tree]);
  for (const pack of execFileSync('find', [join(place.home, 'store/packs'), '-type', 'f'], {
    encoding: 'utf8',
  })
    .split('\n')
    .filter((one) => one !== '')) {
    const bytes = readFileSync(pack);
    bytes[200]! ^= 1;
    chmodSync(pack, 0o600);
    writeFileSync(pack, bytes);
  }
  expect((await place.run(['verify', '--read-data'])).status).toBe(4);

  const watch = new Watch(place, [tree]);
  onTestFinished(async () => {
    await watch.stop('SIGKILL');
  });
  await watch.watching();
  expect(watch.commits.map(({ reason, added, deleted }) => [reason, added, deleted])).toEqual([
    ['reconcile', 0, 0],
  ]);
  expect(await watch.stop()).toBe(0);
  await expectRestores(place, 'latest', tree, tree);
});
