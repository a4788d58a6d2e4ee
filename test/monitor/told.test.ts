import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { Place } from '../command.ts';
import { test } from '../needs.ts';
import { caughtUp, Watch } from './rig.ts';

test('a watch goes by the policy of the folder, tells of its recovery point, and what it missed is in backups and coverage', {
  timeout: 180_000,
}, async () => {
  const place = await Place.make('told');
  onTestFinished(() => place.dispose());
  const tree = place.path('tree');
  mkdirSync(tree, { recursive: true });
  writeFileSync(join(tree, 'a'), 'a');
  await place.ok(['policy', 'set', tree, '--watch-every', '6s', '--recovery-point', '1s']);

  const watch = new Watch(place, [tree]);
  onTestFinished(async () => {
    await watch.stop('SIGKILL');
  });
  await watch.watching();
  writeFileSync(join(tree, 'b'), 'b');
  await watch.line(({ reason }) => reason === 'changes');
  writeFileSync(join(tree, 'b'), 'has to wait for as long as the policy says');
  const exceeded = await changed(watch, 'exceeded');
  const recovered = await changed(watch, 'recovered');
  expect(exceeded).toBeLessThan(recovered);
  await watch.stop('SIGKILL');

  writeFileSync(join(tree, 'c'), 'c');
  const again = new Watch(place, [tree]);
  onTestFinished(async () => {
    await again.stop('SIGKILL');
  });
  await again.watching();
  await caughtUp(place, tree);
  await again.stop();

  const backups = (await place.ok(['backups', tree])).lines;
  expect(backups.map(({ gaps }) => gaps)).toEqual([[], [], [], ['agent-down']]);
  const { lines } = await place.ok(['coverage', tree]);
  const gaps = lines.filter(({ kind }) => kind === 'gap').map((span) => span.gaps);
  expect(gaps).toMatchObject([
    [{ gap: 1, reason: 'agent-down', closed: expect.any(String), by: backups[3]!.label }],
    [{ gap: 2, reason: 'agent-down', closed: null, by: null }],
  ]);
  expect(lines.at(-1)).toMatchObject({ type: 'summary', sources: 1, gaps: 2, openGaps: 1 });
});

/** The line's number that says so. */
async function changed(watch: Watch, state: string): Promise<number> {
  const line = await watch.line((one) => one.type === 'recovery-point' && one.state === state);
  return watch.lines.indexOf(line);
}
