import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { GapLedger } from './ledger.ts';
import { encodeRecord } from './ledger-format.ts';
import { whyNoMounts } from './mountable.suite.ts';

function file(): string {
  const home = mkdtempSync(join(tmpdir(), 'ledger-'));
  onTestFinished(() => rmSync(home, { recursive: true }));
  return join(home, 'ledger');
}

function using<T>(path: string, now: number, use: (ledger: GapLedger) => T): T {
  const ledger = GapLedger.open(path, now);
  try {
    return use(ledger);
  } finally {
    ledger.close();
  }
}

const kinds = (path: string, from: number, to: number, now = to): string[] =>
  using(path, now, (ledger) => ledger.spans(from, to, now)).map(
    (span) => `${span.from}-${span.to} ${span.kind}${span.gaps.map(({ reason }) => ` ${reason}`).join('')}`,
  );

it('where the disk is full, records are written when there is room again', (context) => {
  const reason = whyNoMounts();
  if (reason) return context.skip(reason);
  const mount = dirname(file());
  execFileSync('/bin/mount', ['-t', 'tmpfs', '-o', 'size=64k', 'ledger-test', mount]);
  onTestFinished(() => void execFileSync('/bin/umount', [mount]));
  const path = join(mount, 'ledger');
  using(path, 1000, (ledger) => {
    ledger.started(1000);
    expect(() => writeFileSync(join(mount, 'filler'), Buffer.alloc(1 << 20))).toThrow('ENOSPC');
    for (let at = 1001; at < 1200; at++) ledger.alive(at);
    const gap = ledger.openGap('overflow', 1200);
    expect(readFileSync(path, 'latin1')).not.toContain('overflow');
    expect(ledger.openGaps).toMatchObject([{ gap, reason: 'overflow' }]);
    rmSync(join(mount, 'filler'));
    ledger.reconciled([gap], 1300, 1400);
    ledger.stopped(1400);
  });
  expect(kinds(path, 1000, 1500)).toEqual([
    '1000-1200 watched',
    '1200-1300 gap overflow',
    '1300-1400 watched',
    '1400-1500 gap agent-down',
  ]);
});

it('where the disk is full, a ledger that would be shorter goes on as it is', (context) => {
  const reason = whyNoMounts();
  if (reason) return context.skip(reason);
  const mount = dirname(file());
  execFileSync('/bin/mount', ['-t', 'tmpfs', '-o', 'size=64k', 'ledger-test', mount]);
  onTestFinished(() => void execFileSync('/bin/umount', [mount]));
  const path = join(mount, 'ledger');
  const later = 500 * 24 * 3_600_000;
  using(path, 1000, (ledger) => {
    ledger.started(1000);
    ledger.stopped(2000);
    ledger.reconciled([1], 2000, 3000);
  });
  expect(() => writeFileSync(join(mount, 'filler'), Buffer.alloc(1 << 20))).toThrow('ENOSPC');
  const before = readFileSync(path, 'latin1');
  using(path, later, (ledger) => expect(ledger.openGaps).toEqual([]));
  expect(readFileSync(path, 'latin1')).toBe(before);
  rmSync(join(mount, 'filler'));
  using(path, later, () => {});
  expect(readFileSync(path, 'latin1')).toContain('forgotten');
});

describe('gap ledger', () => {
  it('has golden bytes', () => {
    expect(encodeRecord({ type: 'opened', at: 1000, gap: 1, reason: 'overflow' })).toBe(
      '7c4be6d3 {"type":"opened","at":1000,"gap":1,"reason":"overflow"}\n',
    );
  });

  it('shows spans that were watched, gaps with their reasons, and what nobody watched', () => {
    const path = file();
    using(path, 0, (ledger) => {
      ledger.started(100);
      const gap = ledger.openGap('overflow', 200);
      expect(ledger.openGaps).toEqual([{ gap, reason: 'overflow', from: 200 }]);
      ledger.reconciled([gap], 250, 300);
      expect(ledger.openGaps).toEqual([]);
      ledger.stopped(400);
    });
    expect(kinds(path, 0, 500)).toEqual([
      '0-100 unwatched',
      '100-200 watched',
      '200-250 gap overflow',
      '250-400 watched',
      '400-500 gap agent-down',
    ]);
    expect(kinds(path, 210, 220)).toEqual(['210-220 gap overflow']);
    expect(kinds(path, 350, 9000, 380)).toEqual(['350-380 watched']);
  });

  it('one reconcile does not close a gap that was opened after it began', () => {
    const path = file();
    using(path, 0, (ledger) => {
      ledger.started(0);
      ledger.openGap('overflow', 10);
      const known = ledger.openGaps.map(({ gap }) => gap);
      ledger.openGap('overflow', 20);
      ledger.reconciled(known, 15, 30);
      expect(ledger.openGaps.map(({ from }) => from)).toEqual([20]);
    });
  });

  it('a watch that was ended from outside leaves a gap from its last sign of life on', () => {
    const path = file();
    using(path, 0, (ledger) => {
      ledger.started(100);
      ledger.alive(200);
    });
    using(path, 900, (ledger) => {
      expect(ledger.openGaps).toEqual([{ gap: 1, reason: 'agent-down', from: 200 }]);
      ledger.started(900);
      ledger.reconciled([1], 910, 950);
      ledger.alive(1000);
    });
    expect(kinds(path, 100, 1000)).toEqual(['100-200 watched', '200-910 gap agent-down', '910-1000 watched']);
  });

  it('a tail that is torn at any byte loses no more than the record that was being written', () => {
    const path = file();
    using(path, 0, (ledger) => {
      ledger.started(100);
      ledger.openGap('watch-limit', 150);
    });
    const whole = readFileSync(path);
    const last = encodeRecord({ type: 'closed', at: 300, gap: 1, from: 200 });
    for (let length = 0; length < last.length; length++) {
      writeFileSync(path, Buffer.concat([whole, Buffer.from(last.slice(0, length))]));
      using(path, 400, (ledger) => {
        expect(ledger.openGaps.map(({ reason }) => reason)).toEqual(['watch-limit', 'agent-down']);
        ledger.started(400);
      });
    }
    writeFileSync(path, Buffer.concat([whole, Buffer.from(last)]));
    using(path, 400, (ledger) => expect(ledger.openGaps.map(({ reason }) => reason)).toEqual(['agent-down']));
  });

  it('a damaged line is a gap from the beginning on, until it is reconciled, once', () => {
    const path = file();
    using(path, 0, (ledger) => {
      ledger.started(100);
      ledger.openGap('overflow', 200);
      ledger.stopped(300);
    });
    const bytes = readFileSync(path);
    bytes[bytes.indexOf('overflow')]! ^= 1;
    writeFileSync(path, bytes);
    using(path, 500, (ledger) => {
      const { openGaps } = ledger;
      expect(openGaps.find(({ reason }) => reason === 'ledger-damaged')).toMatchObject({ from: 100 });
      ledger.started(500);
      ledger.reconciled(
        openGaps.map(({ gap }) => gap),
        510,
        520,
      );
      ledger.alive(600);
      ledger.stopped(700);
    });
    using(path, 800, (ledger) => expect(ledger.openGaps.map(({ from }) => from)).toEqual([700]));
    expect(existsSync(`${path}.new`)).toBe(false);
  });

  it('does not grow with signs of life for ever, and forgets no gap for that', () => {
    const path = file();
    using(path, 0, (ledger) => {
      ledger.started(1);
      ledger.openGap('mount-changed', 5);
    });
    let text = '';
    for (let at = 10; at < 10_000; at++) text += encodeRecord({ type: 'alive', at });
    appendFileSync(path, text);
    using(path, 20_000, (ledger) => {
      expect(ledger.openGaps.map(({ reason, from }) => [reason, from])).toEqual([
        ['mount-changed', 5],
        ['agent-down', 9_999],
      ]);
    });
    expect(statSync(path).size).toBeLessThan(1000);
    expect(kinds(path, 0, 20_000).at(-1)).toBe('9999-20000 gap mount-changed agent-down');
  });

  it('SIGKILL loses no gap whose opening was acknowledged', async () => {
    const path = file();
    const script = `
      import { GapLedger } from ${JSON.stringify(join(import.meta.dirname, 'ledger.ts'))};
      const ledger = GapLedger.open(${JSON.stringify(path)}, 0);
      ledger.started(1);
      for (let at = 2; ; at++) process.stdout.write(ledger.openGap('overflow', at) + '\\n');`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let acknowledged = '';
    child.stdout.on('data', (data: Buffer) => {
      acknowledged += data;
      if (acknowledged.length > 400) child.kill('SIGKILL');
    });
    await once(child, 'close');
    const gaps = acknowledged.split('\n').slice(0, -1).map(Number);
    expect(gaps.length).toBeGreaterThan(50);
    using(path, 1_000_000, (ledger) =>
      expect(ledger.openGaps.map(({ gap }) => gap)).toEqual(expect.arrayContaining(gaps)),
    );
  });

  const DAY = 24 * 3_600_000;
  const closeAll = (ledger: GapLedger, at: number) =>
    ledger.reconciled(
      ledger.openGaps.map(({ gap }) => gap),
      at,
      at,
    );

  it('forgets what ended 400 days ago, tells until when, and keeps what is open or reaches into that time', () => {
    const path = file();
    using(path, 0, (ledger) => {
      ledger.started(0);
      ledger.openGap('overflow', DAY);
      closeAll(ledger, DAY);
      const [early, late] = [ledger.openGap('overflow', 2 * DAY), ledger.openGap('overflow', 5 * DAY)];
      ledger.reconciled([early], 3 * DAY, 3 * DAY);
      ledger.reconciled([late], 20 * DAY, 20 * DAY);
      ledger.openGap('watch-limit', 4 * DAY);
      ledger.alive(100 * DAY);
    });
    const before = statSync(path).size;
    using(path, 404 * DAY, (ledger) => {
      expect(ledger.gaps.map(({ gap }) => gap)).toEqual([3, 4, 5]);
      expect(ledger.openGap('overflow', 404 * DAY)).toBe(6);
    });
    expect(statSync(path).size).toBeLessThan(before + 100);
    expect(kinds(path, 0, 30 * DAY, 404 * DAY)).toEqual([
      `0-${3 * DAY} unknown`,
      `${3 * DAY}-${4 * DAY} watched`,
      `${4 * DAY}-${5 * DAY} gap watch-limit`,
      `${5 * DAY}-${20 * DAY} gap overflow watch-limit`,
      `${20 * DAY}-${30 * DAY} gap watch-limit`,
    ]);
    using(path, 2000 * DAY, (ledger) => {
      expect(ledger.gaps.map(({ gap }) => gap)).toEqual([4, 5, 6]);
      expect(ledger.openGaps).toHaveLength(3);
    });
    expect(kinds(path, 5 * DAY, 2000 * DAY)).toEqual([
      `${5 * DAY}-${100 * DAY} unknown watch-limit`,
      `${100 * DAY}-${404 * DAY} gap watch-limit agent-down`,
      `${404 * DAY}-${2000 * DAY} gap watch-limit agent-down overflow`,
    ]);
  });

  it('remembers the newest 4,000 that are closed, with the number of the last one that it forgot', () => {
    const path = file();
    const lines = [encodeRecord({ type: 'opened', at: 1, gap: 1, reason: 'unmounted' })];
    for (let gap = 2; gap <= 5001; gap++) {
      lines.push(encodeRecord({ type: 'opened', at: gap * 10, gap, reason: 'overflow' }));
      lines.push(encodeRecord({ type: 'closed', at: gap * 10 + 5, gap, from: gap * 10 + 5 }));
    }
    writeFileSync(path, lines.join(''));
    using(path, 60_000, (ledger) => {
      expect(ledger.gaps).toHaveLength(4001);
      expect(ledger.openGaps).toMatchObject([{ gap: 1, from: 1 }]);
    });
    const [first, second] = kinds(path, 0, 60_000);
    expect([first, second]).toEqual(['0-1 unknown', '1-10015 unknown unmounted']);
    expect(readFileSync(path, 'latin1').split('\n')[0]).toContain(
      '{"type":"forgotten","at":10015,"gap":5001}',
    );
  });

  it('a watch that runs on and on writes a short file, too, and forgets no gap that is open', () => {
    const path = file();
    using(path, 0, (ledger) => {
      ledger.started(1);
      ledger.openGap('overflow', 5);
      closeAll(ledger, 10);
      const gap = ledger.openGap('mount-changed', 20);
      for (let i = 0; i < 15_000; i++) ledger.alive(100 + i * DAY);
      expect(statSync(path).size).toBeLessThan(300_000);
      expect(ledger.openGaps.map((one) => one.gap)).toEqual([gap]);
      ledger.openGap('overflow', 15_000 * DAY);
    });
    using(path, 15_001 * DAY, (ledger) =>
      expect(ledger.openGaps.map(({ gap, reason }) => [gap, reason])).toEqual([
        [2, 'mount-changed'],
        [3, 'overflow'],
        [4, 'agent-down'],
      ]),
    );
    expect(kinds(path, 0, 15, 15_001 * DAY)).toEqual(['0-10 unknown', '10-15 watched']);
  });

  it('a file that was being written in its place and never was is passed over', () => {
    const path = file();
    using(path, 0, (ledger) => {
      ledger.openGap('unmounted', 1);
      closeAll(ledger, 2);
      ledger.openGap('overflow', 3);
    });
    writeFileSync(`${path}.new`, 'half of a line');
    using(path, 500 * DAY, (ledger) => expect(ledger.gaps).toMatchObject([{ gap: 2, from: 3 }]));
    expect(existsSync(`${path}.new`)).toBe(false);
    expect(kinds(path, 0, 5)).toEqual(['0-2 unknown', '2-3 unwatched', '3-5 gap overflow']);
  });

  it('SIGKILL at any step of forgetting loses no open gap and damages nothing', { timeout: 60_000 }, () => {
    const path = file();
    using(path, 0, (ledger) => {
      ledger.openGap('overflow', 1);
      closeAll(ledger, 2);
      ledger.openGap('unmounted', 3);
    });
    const before = readFileSync(path);
    // It is killed in front of a step; of what it would have written the half is there.
    const script = `
      import fs from 'node:fs';
      import { syncBuiltinESMExports } from 'node:module';
      import { GapLedger } from ${JSON.stringify(join(import.meta.dirname, 'ledger.ts'))};
      let left = Number(process.argv[1]);
      for (const name of ['openSync', 'writeSync', 'writeFileSync', 'fsyncSync', 'renameSync', 'rmSync', 'closeSync']) {
        const real = fs[name];
        fs[name] = (...args) => {
          if (left-- > 0) return real(...args);
          if (name.startsWith('write')) real(args[0], args[1].subarray(0, args[1].length / 2));
          process.kill(process.pid, 'SIGKILL');
        };
      }
      syncBuiltinESMExports();
      GapLedger.open(${JSON.stringify(path)}, ${500 * DAY});`;
    const states = new Set<string>();
    for (let steps = 0, isOver = false; !isOver; steps++) {
      writeFileSync(path, before);
      const args = ['--input-type=module', '-e', script, String(steps)];
      const { status, signal } = spawnSync(process.execPath, args, { stdio: 'inherit' });
      expect(signal ?? status).toBe(status === 0 ? 0 : 'SIGKILL');
      isOver = status === 0;
      using(path, 10, (ledger) =>
        states.add(ledger.gaps.map(({ gap, reason }) => `${gap} ${reason}`).join()),
      );
    }
    expect([...states]).toEqual(['1 overflow,2 unmounted', '2 unmounted']);
  });

  it('cut to nothing it starts again', () => {
    const path = file();
    using(path, 0, (ledger) => ledger.started(1));
    truncateSync(path, 0);
    using(path, 5, (ledger) => expect(ledger.openGaps).toEqual([]));
  });

  it('takes a record of a newer program, which may tell of a gap, for one that is damaged', () => {
    const path = file();
    using(path, 0, (ledger) => {
      ledger.started(100);
      ledger.stopped(200);
    });
    const newer = { type: 'opened', at: 150, gap: 7, reason: 'of the future' } as never;
    appendFileSync(path, encodeRecord(newer));
    using(path, 300, (ledger) => {
      expect(ledger.openGaps.map(({ reason, from }) => [reason, from])).toContainEqual([
        'ledger-damaged',
        100,
      ]);
    });
  });
});

it('a gap that a reconcile of the same millisecond closes is a gap of one', () => {
  const path = file();
  using(path, 0, (ledger) => {
    ledger.started(0);
    const gap = ledger.openGap('overflow', 50);
    ledger.reconciled([gap], 50, 60);
    ledger.stopped(100);
  });
  expect(kinds(path, 0, 100)).toEqual(['0-50 watched', '50-51 gap overflow', '51-100 watched']);
});
