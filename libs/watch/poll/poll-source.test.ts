import { describe, expect, it } from 'vitest';
import { eventSourceSuite } from '../event-source.suite.ts';
import { whyNoMounts } from '../mountable.suite.ts';
import { WatchRig } from '../watch-rig.suite.ts';
import { PollSource } from './poll-source.ts';

const INTERVAL_MS = 20;

eventSourceSuite({
  kind: 'poll',
  start: (options) => PollSource.start({ ...options, intervalMs: INTERVAL_MS, now: Date.now }),
  noMounts: whyNoMounts(),
});

describe('poll: times', () => {
  it('young files are told again until they are old, and then no more', async () => {
    let clock = Date.now();
    const rig = new WatchRig((options) =>
      PollSource.start({ ...options, intervalMs: INTERVAL_MS, now: () => clock }),
    );
    rig.write('young');
    await rig.follow();
    await rig.until(({ entries }) => entries.has('young'));
    await rig.forget();
    await rig.until(({ entries }) => entries.has('young'));
    clock += 60_000;
    await rig.settled();
    await rig.forget();
    await rig.settled();
    expect(rig.reported.entries.has('young')).toBe(false);
  });
});
