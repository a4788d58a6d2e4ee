import { describe, expect, it } from 'vitest';
import { TmError } from '../model/errors.ts';
import { GapLedger } from '../watch/ledger.ts';
import { MonitorRig, settled } from './monitor-rig.suite.ts';
import type { Wish } from './port.ts';

const wish = (more: Partial<Wish> = {}): Wish => ({
  kind: undefined,
  tags: {},
  excludes: undefined,
  oneFileSystem: undefined,
  acceptRoot: false,
  onProblem: () => {},
  onProgress: () => {},
  signal: new AbortController().signal,
  ...more,
});

describe('micro-differentials', () => {
  it('begin with a look at the whole tree, for which the source is already there', async () => {
    const rig = new MonitorRig();
    await rig.start();
    expect(rig.made()).toEqual(['reconcile']);
    expect(rig.told).toEqual(['backup-1 reconcile', 'watching by inotify']);
  });

  it('take a path once, however often it changed, when it has been quiet', async () => {
    const rig = new MonitorRig();
    const source = await rig.start();
    rig.made();
    for (let i = 0; i < 10; i++) {
      await source.changed('a');
      await rig.clock.advance(100);
    }
    expect(rig.made()).toEqual([]);
    await rig.clock.advance(400);
    expect(rig.made()).toEqual(['micro a']);
    await rig.clock.advance(600_000);
    expect(rig.made()).toEqual([]);
  });

  it('come no more often than they may', async () => {
    const rig = new MonitorRig();
    const source = await rig.start();
    rig.made();
    for (let i = 0; i < 100; i++) {
      await source.changed(`f${i}`);
      await rig.clock.advance(1000);
    }
    expect(rig.made().length).toBe(20);
  });

  it('leave what is still being written, and take it flagged when it has waited for too long', async () => {
    const rig = new MonitorRig();
    const source = await rig.start();
    rig.made();
    await source.changed('quiet');
    for (let i = 0; i < 490; i++) {
      await source.changed('log');
      await rig.clock.advance(100);
    }
    expect(rig.made()).toEqual(['micro quiet']);
    for (let i = 0; i < 11; i++) {
      await source.changed('log');
      await rig.clock.advance(100);
    }
    expect(rig.made()).toEqual(['micro log']);
    expect(rig.backups.lastDirty?.unsettled.map(String)).toEqual(['log']);
  });

  it('bring the directories along that lead to a path', async () => {
    const rig = new MonitorRig();
    const source = await rig.start();
    rig.made();
    await source.changed('d', 'd/f');
    await rig.clock.advance(400);
    await source.changed('d', 'd/busy');
    await rig.clock.advance(100);
    expect(rig.made()).toEqual(['micro d d/f']);
  });

  it('commit nothing and tell nothing where nothing differs', async () => {
    const rig = new MonitorRig();
    const source = await rig.start();
    rig.told.length = 0;
    rig.backups.isEqual = true;
    await source.changed('touched');
    await rig.clock.advance(10_000);
    expect(rig.told).toEqual([]);
    expect(rig.monitor.status.recoveryPointMs).toBe(0);
  });
});

describe('an idle watch', () => {
  it('is woken for its sign of life only', async () => {
    const rig = new MonitorRig();
    await rig.start();
    expect(rig.clock.timers).toBe(1);
    const before = rig.clock.rung;
    await rig.clock.advance(300_000);
    expect(rig.clock.rung - before).toBe(10);
    expect(rig.made()).toEqual(['reconcile']);
  });
});

describe('a backup that fails', () => {
  it('leaves its changes dirty since when they were, and is tried again later and later', async () => {
    const rig = new MonitorRig();
    const source = await rig.start();
    rig.made();
    rig.backups.failures.push(...Array.from({ length: 3 }, () => new TmError('TM1301')));
    await source.changed('a');
    await rig.clock.advance(500);
    expect(rig.made()).toEqual(['micro a']);
    await source.changed('b');
    await rig.clock.advance(4499);
    expect(rig.made()).toEqual([]);
    expect(rig.monitor.status).toMatchObject({ state: 'retrying', failure: 'TM1301', pending: 2 });
    expect(rig.monitor.status.recoveryPointMs).toBe(4999);
    await rig.clock.advance(60_000);
    expect(rig.made()).toEqual(['micro a b', 'micro a b', 'micro a b']);
    expect(rig.told.filter((text) => text.startsWith('failed'))).toEqual(['failed TM1301']);
    expect(rig.monitor.status).toMatchObject({ state: 'watching', failure: undefined, recoveryPointMs: 0 });
  });

  it('for want of knowledge is followed by a look at the whole tree', async () => {
    const rig = new MonitorRig();
    const source = await rig.start();
    rig.made();
    rig.backups.failures.push(new TmError('TM1012'));
    await source.changed('a');
    await rig.clock.advance(500);
    expect(rig.made()).toEqual(['micro a', 'reconcile']);
  });
});

describe('gaps', () => {
  it('by overflow: the reconcile begins at once, says so, and closes it, while the source goes on', async () => {
    const rig = new MonitorRig();
    const source = await rig.start();
    rig.told.length = 0;
    await source.tell({ subtrees: [{ path: Buffer.alloc(0), reason: 'lost' }], states: ['overflow'] });
    expect(rig.told).toEqual(['overflow opened', 'backup-2 reconcile overflow', 'overflow closed']);
    expect(rig.sources.started.length).toBe(1);
  });

  it('that opens during a reconcile needs another one', async () => {
    const rig = new MonitorRig();
    const source = await rig.start();
    const held = Promise.withResolvers<void>();
    rig.backups.hold = held.promise;
    await source.state('overflow');
    await source.state('overflow');
    rig.told.length = 0;
    rig.backups.hold = undefined;
    held.resolve();
    await settled();
    expect(rig.told).toEqual([
      'backup-2 reconcile overflow',
      'overflow closed',
      'backup-3 reconcile overflow',
      'overflow closed',
    ]);
  });

  it('stay open until a reconcile succeeds', async () => {
    const rig = new MonitorRig();
    const source = await rig.start();
    rig.backups.failures.push(new TmError('TM1201'));
    await source.state('overflow');
    expect(rig.monitor.status.gaps).toEqual(['overflow']);
    await rig.clock.advance(1000);
    expect(rig.monitor.status.gaps).toEqual([]);
    expect(rig.told).toContain('overflow closed');
  });

  it('by too many paths: they collapse into one', async () => {
    const rig = new MonitorRig({ maxPaths: 10 });
    const source = await rig.start();
    rig.made();
    await source.changed(...Array.from({ length: 11 }, (_, i) => `f${i}`));
    expect(rig.told.slice(2)).toEqual(['overflow opened', 'backup-1 reconcile overflow', 'overflow closed']);
    await rig.clock.advance(60_000);
    expect(rig.made()).toEqual(['reconcile']);
  });

  it('by the watch limit stay: the whole tree is looked at again and again', async () => {
    const rig = new MonitorRig();
    const source = await rig.start();
    rig.made();
    await source.state('watch-limit');
    expect(rig.told).toContain('failed TM1121');
    expect(rig.made()).toEqual(['reconcile']);
    expect(rig.monitor.status.gaps).toEqual(['watch-limit']);
    await rig.clock.advance(1_200_000);
    expect(rig.made()).toEqual(['reconcile', 'reconcile']);
    expect(rig.monitor.status.gaps).toEqual(['watch-limit']);
  });

  it('by mounts: another kind of source takes over where it is better', async () => {
    const rig = new MonitorRig();
    const source = await rig.start();
    rig.sources.kind = 'poll';
    await source.state('mount-changed');
    expect(source.hasEnded).toBe(true);
    expect(rig.source.kind).toBe('poll');
    expect(rig.monitor.status.gaps).toEqual([]);
    expect(rig.told.at(-1)).toBe('watching by poll');
  });

  it('by the end of the process: the next one begins with a reconcile that names it', async () => {
    const rig = new MonitorRig();
    await rig.start();
    await rig.stop();
    const next = new MonitorRig({}, rig.ledgerFile);
    await next.start();
    expect(next.told).toEqual(['backup-1 reconcile agent-down', 'agent-down closed', 'watching by inotify']);
  });

  it('by SIGKILL: the same', async () => {
    const rig = new MonitorRig();
    GapLedger.open(rig.ledgerFile, 1).started(1);
    const next = new MonitorRig({}, rig.ledgerFile);
    await next.start();
    expect(next.told).toEqual(['backup-1 reconcile agent-down', 'agent-down closed', 'watching by inotify']);
  });
});

describe('a clock that is set back by a day', () => {
  const DAY_MS = 86_400_000;

  it('puts off neither what was dirty before nor what comes then', async () => {
    const rig = new MonitorRig();
    rig.clock.set(10 * DAY_MS);
    const source = await rig.start();
    await source.changed('first');
    await rig.clock.advance(500);
    rig.made();
    await source.changed('before');
    rig.clock.set(9 * DAY_MS);
    await source.changed('after');
    await rig.clock.advance(20_000);
    expect(rig.made()).toEqual(['micro after before']);
    expect(rig.monitor.status).toMatchObject({ recoveryPointMs: 0, pending: 0 });
  });

  it('nor a retry, nor a look at the whole tree', async () => {
    const rig = new MonitorRig();
    rig.clock.set(10 * DAY_MS);
    const source = await rig.start();
    rig.made();
    rig.backups.failures.push(new TmError('TM1301'));
    await source.state('overflow');
    rig.clock.set(9 * DAY_MS);
    await rig.clock.advance(180_000);
    expect(rig.made()).toEqual(['reconcile', 'reconcile']);
    expect(rig.monitor.status.gaps).toEqual([]);
  });

  it('nor a root that comes back', async () => {
    const rig = new MonitorRig();
    rig.clock.set(10 * DAY_MS);
    const source = await rig.start();
    rig.sources.failure = new TmError('TM1102');
    await source.end('root-deleted');
    await rig.clock.advance(10_000);
    rig.sources.failure = undefined;
    rig.clock.set(9 * DAY_MS);
    await rig.clock.advance(180_000);
    expect(rig.monitor.status.state).toBe('watching');
  });
});

describe('a root that goes', () => {
  it('is waited for, and the watch goes on by itself', async () => {
    const rig = new MonitorRig();
    const source = await rig.start();
    rig.told.length = 0;
    rig.sources.failure = new TmError('TM1102');
    await source.end('root-deleted');
    await rig.clock.advance(200_000);
    expect(rig.told).toEqual(['root-deleted opened', 'failed TM1122', 'failed TM1102']);
    expect(rig.monitor.status).toMatchObject({ state: 'lost', gaps: ['root-deleted'] });
    rig.sources.failure = undefined;
    await rig.clock.advance(60_000);
    expect(rig.told.slice(3)).toEqual([
      'backup-2 reconcile root-deleted',
      'root-deleted closed',
      'watching by inotify',
    ]);
  });

  it('gives no sign of life meanwhile', async () => {
    const rig = new MonitorRig();
    const source = await rig.start();
    rig.sources.failure = new TmError('TM1102');
    await source.end('unmounted');
    await rig.clock.advance(3_600_000);
    const alive = GapLedger.open(rig.ledgerFile, 0).spans(0, Number.MAX_SAFE_INTEGER, rig.clock.now());
    expect(alive.at(-1)?.gaps.map(({ reason }) => reason)).toContain('unmounted');
  });
});

describe('a backup that is asked for', () => {
  it('is made at once, with all that is dirty, and closes gaps', async () => {
    const rig = new MonitorRig();
    const source = await rig.start();
    rig.made();
    await source.changed('a');
    const made = await rig.monitor.ask(wish({ kind: 'full' }));
    expect(made.backup.label).toBe('backup-1');
    expect(rig.told.at(-1)).toBe('backup-1 request');
    await rig.clock.advance(60_000);
    expect(rig.made()).toEqual(['wished full']);
  });

  it('by other rules is followed by a look at the whole tree by those of the watch', async () => {
    const rig = new MonitorRig();
    await rig.start();
    rig.made();
    await rig.monitor.ask(wish({ excludes: ['*.tmp'] }));
    await settled();
    expect(rig.made()).toEqual(['wished undefined', 'reconcile']);
  });

  it('fails alone: the watch goes on, and its changes stay dirty', async () => {
    const rig = new MonitorRig();
    const source = await rig.start();
    rig.made();
    await source.changed('a');
    rig.backups.failures.push(new TmError('TM1105'));
    await expect(rig.monitor.ask(wish())).rejects.toMatchObject({ code: 'TM1105' });
    await rig.clock.advance(1000);
    expect(rig.made()).toEqual(['wished undefined', 'reconcile']);
  });

  it('is refused once the watch ends', async () => {
    const rig = new MonitorRig();
    await rig.start();
    rig.backups.hold = settled();
    const first = rig.monitor.ask(wish());
    const second = rig.monitor.ask(wish());
    second.catch(() => {});
    await rig.stop();
    await first.catch(() => {});
    await expect(second).rejects.toMatchObject({ code: 'TM1508' });
    expect(rig.backups.isClosed).toBe(true);
  });
});

describe('the recovery point', () => {
  it('is the age of the oldest change that no backup holds, and is told when it passes the limit', async () => {
    const rig = new MonitorRig({ recoveryLimitMs: 60_000 });
    const source = await rig.start();
    rig.told.length = 0;
    expect(rig.monitor.status).toMatchObject({ recoveryPointMs: 0, oldestChange: undefined, pending: 0 });
    rig.backups.failures.push(...Array.from({ length: 8 }, () => new TmError('TM1204')));
    await source.changed('a');
    const noticed = rig.clock.now();
    await rig.clock.advance(59_000);
    await source.changed('b');
    expect(rig.monitor.status).toMatchObject({ recoveryPointMs: 59_000, oldestChange: noticed, pending: 2 });
    expect(rig.told).toEqual(['failed TM1204']);
    await rig.clock.advance(1000);
    expect(rig.told).toEqual(['failed TM1204', 'too old']);
    await rig.clock.advance(300_000);
    expect(rig.told.slice(2)).toEqual(['backup-10 changes', 'young again']);
    expect(rig.monitor.status.recoveryPointMs).toBe(0);
  });

  it('counts what a backup under way has taken', async () => {
    const rig = new MonitorRig();
    const source = await rig.start();
    await source.changed('a');
    const held = Promise.withResolvers<void>();
    rig.backups.hold = held.promise;
    await rig.clock.advance(2000);
    expect(rig.monitor.status).toMatchObject({ recoveryPointMs: 2000, pending: 0 });
    rig.backups.hold = undefined;
    held.resolve();
    await settled();
    expect(rig.monitor.status.recoveryPointMs).toBe(0);
  });
});
