import {
  appendFileSync,
  chmodSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { socketName } from '../../libs/embedded/watch-lock.ts';
import { Place } from '../command.ts';
import { caughtUp, copyOf, expectRestores, expectSame, Watch } from './rig.ts';
import { makeTree } from './tree.ts';

const TIMEOUT = { timeout: 240_000 };

interface Watched {
  readonly place: Place;
  readonly tree: string;
  watch(...args: string[]): Promise<Watch>;
}

/** A small tree in a place of its own; `watch` resolves when it is watched. */
async function watched(name: string): Promise<Watched> {
  const place = await Place.make(name);
  onTestFinished(() => place.dispose());
  const tree = place.path('tree');
  makeTree(tree, 200);
  return {
    place,
    tree,
    async watch(...args) {
      const watch = new Watch(place, [tree, '--every', '1s', '--settle', '200ms', ...args]);
      onTestFinished(async () => {
        await watch.stop('SIGKILL');
      });
      await watch.watching();
      return watch;
    },
  };
}

/** One of each kind of change. */
function edit(tree: string): void {
  const at = (...names: string[]) => join(tree, ...names);
  writeFileSync(at('created'), 'created');
  appendFileSync(at('d0', 'e0', 'f1'), 'appended');
  renameSync(at('d0', 'e1'), at('moved'));
  rmSync(at('d0', 'e2'), { recursive: true });
  linkSync(at('d0', 'e0', 'f3'), at('linked'));
  appendFileSync(at('linked'), 'through another name');
  chmodSync(at('d0', 'e0', 'f5'), 0o600);
  symlinkSync('nowhere', at('symlink'));
  mkdirSync(at('new', 'deep'), { recursive: true });
  writeFileSync(at('new', 'deep', Buffer.from([0xff, 0xfe]).toString('latin1')), 'x');
}

describe('tidemark watch', () => {
  it('commits what changes, restorable exactly, and ends in order', TIMEOUT, async () => {
    const { place, tree, watch } = await watched('watch');
    const running = await watch();
    expect(running.commits).toMatchObject([{ kind: 'full', reason: 'reconcile', gaps: [] }]);
    edit(tree);
    const label = await caughtUp(place, tree);
    const copy = place.path('copy');
    copyOf(tree, copy);
    rmSync(join(tree, 'moved'), { recursive: true });
    const last = await caughtUp(place, tree);
    expect(running.commits.slice(1).every(({ reason }) => reason === 'changes')).toBe(true);
    expect(await running.stop('SIGINT'), running.told).toBe(0);
    expect(running.lines.at(-1)).toMatchObject({ type: 'summary', commits: running.commits.length });
    await expectRestores(place, label, tree, copy);
    await expectRestores(place, last, tree, tree);
    const { lines } = await place.ok(['backups', tree]);
    expect(lines.filter(({ type }) => type === 'backup').map((line) => line.label)).toEqual(
      running.commits.map((commit) => commit.label),
    );
  });

  it('makes no commit where nothing differs', TIMEOUT, async () => {
    const { place, tree, watch } = await watched('equal');
    const running = await watch();
    const file = join(tree, 'd0', 'e0', 'f1');
    chmodSync(file, 0o640);
    await caughtUp(place, tree);
    const before = running.commits.length;
    chmodSync(file, 0o600);
    chmodSync(file, 0o640);
    writeFileSync(join(tree, 'd0', 'short-lived'), 'x');
    rmSync(join(tree, 'd0', 'short-lived'));
    await caughtUp(place, tree);
    const made = running.commits.slice(before);
    expect(
      made.every(
        ({ metadata, added, changed, deleted }) =>
          Number(metadata) + Number(added) + Number(changed) + Number(deleted) > 0,
      ),
    ).toBe(true);
    await running.stop();
    const again = await watch();
    await caughtUp(place, tree);
    expect(again.commits).toEqual([]);
  });

  it('that is killed goes on after a reconcile, which closes the gap', TIMEOUT, async () => {
    const { place, tree, watch } = await watched('killed');
    const first = await watch();
    await first.stop('SIGKILL');
    edit(tree);
    const second = await watch();
    const gap = second.lines.find(({ type }) => type === 'gap');
    expect(second.commits[0]).toMatchObject({
      reason: 'reconcile',
      gaps: ['agent-down'],
      kind: 'differential',
    });
    expect(second.lines).toContainEqual({ ...gap, type: 'gap', state: 'closed', reason: 'agent-down' });
    writeFileSync(join(tree, 'later'), 'x');
    const label = await caughtUp(place, tree);
    await second.stop();
    await expectRestores(place, label, tree, tree);
  });

  it('is refused while another one watches', TIMEOUT, async () => {
    const { place, tree, watch } = await watched('twice');
    await watch();
    const { status, last } = await place.run(['watch', tree]);
    expect({ status, code: last.code }).toEqual({ status: 11, code: 'TM1521' });
  });

  it('watches several folders at once', TIMEOUT, async () => {
    const { place, tree, watch } = await watched('several');
    const other = place.path('other');
    makeTree(other, 20);
    const running = await watch(other);
    await running.line(({ type, source }) => type === 'watching' && source === other);
    writeFileSync(join(other, 'x'), 'x');
    writeFileSync(join(tree, 'y'), 'y');
    const labels = [await caughtUp(place, other), await caughtUp(place, tree)];
    await running.stop();
    await expectRestores(place, labels[0]!, other, other);
    await expectRestores(place, labels[1]!, tree, tree);
  });

  it('waits for a root that is gone, and goes on when it is back', TIMEOUT, async () => {
    const { place, tree, watch } = await watched('gone');
    const running = await watch();
    renameSync(tree, place.path('away'));
    await running.line(({ code }) => code === 'TM1122');
    appendFileSync(place.path('away', 'd0', 'e0', 'f1'), 'meanwhile');
    const before = running.lines.length;
    renameSync(place.path('away'), tree);
    await running.line(({ type }) => type === 'watching', before);
    const label = await caughtUp(place, tree);
    await running.stop();
    await expectRestores(place, label, tree, tree);
  });
});

describe('beside a running watch', () => {
  it('`backup` has it make the backup, and reports as usual', TIMEOUT, async () => {
    const { place, tree, watch } = await watched('asked');
    const running = await watch();
    edit(tree);
    const { lines, last } = await place.ok(['backup', tree, '--tag', 'by=hand']);
    expect(last).toMatchObject({ type: 'summary', kind: 'differential' });
    expect(lines.every(({ type }) => type === 'summary' || type === 'progress')).toBe(true);
    expect(running.commits.at(-1)).toMatchObject({ label: last.label, reason: 'request' });
    await expectRestores(place, String(last.label), tree, tree);
    const full = await place.ok(['backup', tree, '--full']);
    expect(full.last).toMatchObject({ kind: 'full', baseline: null });
    appendFileSync(join(tree, 'd0', 'e0', 'f1'), 'after the full');
    const label = await caughtUp(place, tree);
    expect(label.startsWith(`${full.last.label}_`)).toBe(true);
    await running.stop();
    await expectRestores(place, label, tree, tree);
  });

  it('`backup` fails as usual, too', TIMEOUT, async () => {
    const { place, tree, watch } = await watched('refused');
    const running = await watch();
    renameSync(tree, place.path('away'));
    mkdirSync(tree);
    await running.line(({ code }) => code === 'TM1122');
    const { status, last } = await place.run(['backup', tree]);
    expect({ status, code: last.code }).toEqual({ status: 1, code: 'TM1105' });
    expect((await place.ok(['backup', tree, '--accept-root'])).last).toMatchObject({ files: 0 });
    await caughtUp(place, tree);
  });

  it('`backup` makes it by itself where the watch is killed meanwhile', TIMEOUT, async () => {
    const { place, tree, watch } = await watched('died');
    const running = await watch();
    running.signal('SIGSTOP');
    writeFileSync(join(tree, 'new'), 'x');
    const asked = place.start(['backup', tree]);
    const connections = () => readFileSync('/proc/net/unix', 'latin1').split(socketName(Buffer.from(tree)));
    await vi.waitUntil(() => connections().length > 2, { timeout: 30_000 }); // the watch's own, and one that waits
    running.signal('SIGKILL');
    const { status, last, text } = await asked.ended;
    expect(status, text).toBe(0);
    await expectRestores(place, String(last.label), tree, tree);
  });

  it('`restore --in-place` becomes ordinary changes', TIMEOUT, async () => {
    const { place, tree, watch } = await watched('in-place');
    const running = await watch();
    const before = String(running.commits[0]!.label);
    const copy = place.path('copy');
    copyOf(tree, copy);
    edit(tree);
    await caughtUp(place, tree);
    await place.ok(['restore', before, '--in-place', '--delete', '--source', tree]);
    expectSame(copy, tree);
    const label = await caughtUp(place, tree);
    expect(label).not.toBe(before);
    await running.stop();
    await expectRestores(place, label, tree, copy);
  });

  it('all of it works from a home whose path is longer than a socket may have', TIMEOUT, async () => {
    const { place, tree } = await watched('long');
    const env = { TIDEMARK_HOME: place.path('a'.repeat(60), 'b'.repeat(60)) };
    mkdirSync(place.path('a'.repeat(60)));
    Object.assign(place.env, env);
    onTestFinished(() => place.dispose(env.TIDEMARK_HOME));
    const running = new Watch(place, [tree, '--every', '1s']);
    onTestFinished(async () => {
      await running.stop('SIGKILL');
    });
    await running.watching();
    const { last } = await place.ok(['backup', tree]);
    expect(running.commits.at(-1)).toMatchObject({ label: last.label, reason: 'request' });
  });
});
