import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { BlockIntake } from '../blocks/intake.ts';
import { newDomain } from '../blocks/keys.ts';
import { DataKey } from '../commit/data-key.ts';
import { backupRoutes, type OpenReply } from '../contracts/api/control.ts';
import type { BackupView } from '../contracts/api/control-views.ts';
import { bind } from '../http/binding.ts';
import type { HttpClient } from '../http/client.ts';
import { ServerRig } from '../http/rig.suite.ts';
import { TmError } from '../model/errors.ts';
import { remoteBackup } from './remote-backup.ts';

const INSTANCE = randomUUID();
const domain = await newDomain(randomUUID(), Buffer.alloc(32, 1));
const backup: BackupView = {
  id: randomUUID(),
  source: randomUUID(),
  seq: 1,
  epoch: { generation: 1, counter: 1 },
  kind: 'full',
  label: '20261124T000000Z-F',
  baselineSeq: 1,
  baseSeq: 0,
  state: 'open',
  openedAt: '2026-11-24T00:00:00.000Z',
  committedAt: null,
  readFrom: null,
  readTo: null,
  stateDigest: null,
  counts: null,
  tags: {},
  pinned: false,
  gaps: null,
  failure: null,
};

/** What the control plane does in a test; each may wait for another. */
interface Script {
  readonly heartbeat?: () => Promise<void>;
  readonly end?: () => Promise<Partial<BackupView>>;
  readonly afterAbort?: BackupView['state'];
  readonly publish?: () => Promise<void>;
}

let folder: string;
let rig: ServerRig | undefined;
let aborted: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-remote-'));
  mkdirSync(join(folder, 'data'));
  writeFileSync(join(folder, 'data/a'), 'hello');
  aborted = [];
});
afterEach(async () => {
  await rig?.close();
  rig = undefined;
  rmSync(folder, { recursive: true });
});

async function control(script: Script): Promise<HttpClient> {
  const opened: OpenReply = {
    backup,
    source: {
      number: 1,
      uid: backup.source,
      domain: domain.id,
      key: Buffer.alloc(32).toString('base64'),
      rootHint: null,
      baseline: 0,
    },
    base: null,
    damaged: false,
    macKey: Buffer.alloc(32).toString('base64'),
    lease: { seconds: 60, renewSeconds: 0 },
    shards: 1,
    writers: ['http://127.0.0.1:1'],
  };
  rig = await ServerRig.start(
    [
      bind(backupRoutes.open, async () => opened),
      bind(backupRoutes.heartbeat, async () => {
        await script.heartbeat?.();
        return { state: 'open' as const, leaseSeconds: 60 };
      }),
      bind(backupRoutes.getBackup, async () => ({ backup: { ...backup, ...(await script.end?.()) } })),
      bind(backupRoutes.abort, async ({ body }) => {
        aborted.push(body.code);
        return { backup: { ...backup, state: script.afterAbort ?? 'failed' } };
      }),
    ],
    { rate: { perSecond: 1e6, burst: 1e6 } },
  );
  const token = rig.tokens.add('tm_agent_one', { agentUid: randomUUID(), domain: domain.id });
  return rig.client(token, { instance: INSTANCE });
}

const takesAll: BlockIntake = {
  missing: async (ids) => new Uint8Array(ids.length / 32).fill(1),
  put: () => ({ accepted: Promise.resolve(), durable: Promise.resolve() }),
  flush: async () => {},
};

async function run(script: Script, signal = new AbortController().signal): Promise<BackupView> {
  const client = await control(script);
  const dataKey = new DataKey(domain, async () => {});
  return remoteBackup(
    {
      control: client,
      domain,
      keyRange: () => dataKey.range(),
      stateFile: () => join(folder, 'state'),
      outlets: async () => ({
        intake: takesAll,
        transport: { publish: script.publish ?? (async () => {}) },
        close: async () => {},
      }),
    },
    {
      root: Buffer.from(join(folder, 'data')),
      kind: undefined,
      tags: {},
      excludes: [],
      oneFileSystem: false,
      acceptRoot: false,
      threads: 1,
      skip: [],
      onProblem: () => {},
      onProgress: () => {},
      signal,
    },
  );
}

test('the state file moves with the commit', async () => {
  const ended = await run({ end: async () => ({ state: 'committed' }) });
  expect(ended.state).toBe('committed');
  expect(existsSync(join(folder, 'state'))).toBe(true);
  expect(aborted).toEqual([]);
});

test('a heartbeat that is refused since the backup was just committed fails nothing', async () => {
  const refused = Promise.withResolvers<void>();
  let sealed = false;
  const ended = await run({
    publish: async () => {
      sealed = true;
    },
    heartbeat: async () => {
      if (!sealed) return;
      refused.resolve();
      throw new TmError('TM1502', 'it has ended');
    },
    end: async () => {
      await refused.promise;
      return { state: 'committed' };
    },
  });
  expect(ended.state).toBe('committed');
  expect(aborted).toEqual([]);
});

test('a backup that failed throws its code, and the state file stays as it was', async () => {
  await expect(run({ end: async () => ({ state: 'failed', failure: 'TM1506' }) })).rejects.toMatchObject({
    code: 'TM1506',
  });
  expect(existsSync(join(folder, 'state'))).toBe(false);
});

test('a slot that is lost while events are on their way ends the backup with that code', async () => {
  const lost = run({
    heartbeat: () => Promise.reject(new TmError('TM1502', 'fenced')),
    publish: () => new Promise(() => {}),
    end: () => new Promise(() => {}),
  });
  await expect(lost).rejects.toMatchObject({ code: 'TM1502' });
  expect(aborted).toEqual(['TM1502']);
});

test('interrupted while its seal is on its way to a Kafka that hangs: it is aborted at once', async () => {
  const interrupt = new AbortController();
  const sealing = run(
    {
      publish: () => {
        interrupt.abort();
        return new Promise(() => {});
      },
    },
    interrupt.signal,
  );
  await expect(sealing).rejects.toMatchObject({ code: 'TM1508' });
  expect(aborted).toEqual(['TM1508']);
  expect(existsSync(join(folder, 'state'))).toBe(false);
});

test('interrupted while it waits for the end: the backup is aborted, unless it was committed meanwhile', async () => {
  for (const state of ['failed', 'committed'] as const) {
    const interrupt = new AbortController();
    const waiting = run(
      {
        end: async () => {
          interrupt.abort();
          return new Promise(() => {});
        },
        afterAbort: state,
      },
      interrupt.signal,
    );
    await expect(waiting).rejects.toMatchObject({ code: 'TM1508' });
    expect(aborted.splice(0)).toEqual(['TM1508']);
    expect(existsSync(join(folder, 'state'))).toBe(state === 'committed');
    await rig?.close();
  }
});
