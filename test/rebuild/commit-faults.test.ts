import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Engine } from '../../libs/embedded/engine.ts';
import { stateIdentity } from '../../libs/embedded/scan-base.ts';
import { TmError } from '../../libs/model/errors.ts';
import type { BackupsTable } from '../../libs/registry/port.ts';
import { peekState } from '../../libs/scan/index.ts';
import { FaultyStore, faults } from '../../libs/store/faulty-store.ts';
import { openStore } from '../../libs/store/open-store.ts';
import { afterAll, beforeAll, beforeEach, test } from '../needs.ts';
import { backUp, Rig } from './rig.ts';

const STALLING = join(import.meta.dirname, 'stalling-process.ts');
const ALWAYS = { prefix: 'journal/', times: Number.POSITIVE_INFINITY };
const code = (expected: string) => expect.objectContaining({ code: expected });

let rig: Rig;
let source: string;
let counter = 0;

beforeAll(async () => {
  rig = new Rig('commit-faults');
  source = rig.path('source');
  mkdirSync(source);
  writeFileSync(`${source}/file`, 'first');
  await rig.withEngine('home', (engine) => backUp(engine, source));
});
afterAll(() => rig.close());
beforeEach(() => writeFileSync(`${source}/file`, `version ${++counter}`));

/** An engine over a store whose faults the work sets up. */
function withFaults<T>(work: (engine: Engine, store: FaultyStore) => Promise<T>): Promise<T> {
  let faulty: FaultyStore | undefined;
  return rig.withEngine('home', (engine) => work(engine, faulty!), {
    openStore: async (url, options) => {
      faulty = new FaultyStore(await openStore(url, options));
      return faulty;
    },
  });
}

const states = (engine: Engine) =>
  engine.registry.backups
    .list({ all: true })
    .then((all) => all.map(({ seq, state, failure }) => ({ seq, state, failure })));

const committed = (engine: Engine) =>
  engine.registry.backups.list({}).then((all) => all.map(({ label }) => label));

/** The next backup is an ordinary differential, with the change in it, and the journal is whole. */
async function expectNextWorks(changed: number): Promise<void> {
  await rig.withEngine('home', async (engine) => {
    const next = await backUp(engine, source);
    expect(next).toMatchObject({ state: 'committed', kind: 'differential', counts: { changed } });
    expect((await states(engine)).filter(({ state }) => state === 'committing')).toEqual([]);
  });
  expect(rig.done('home', 'verify', '--read-data').last).toMatchObject({ findings: 0 });
}

test('a journal object that fails to be put, or whose reply is lost, is put again', async () => {
  for (const fault of [faults.failing(), faults.lostReply()])
    await withFaults(async (engine, store) => {
      writeFileSync(`${source}/file`, `again ${fault.kind}`);
      store.inject('create', fault, { prefix: 'journal/', times: 2 });
      const before = await committed(engine);
      const { label } = await backUp(engine, source);
      expect(await committed(engine)).toEqual([...before, label]);
    });
  await expectNextWorks(0);
});

test('a journal object of which no reply ever comes is looked up, and the backup is committed', async () => {
  await withFaults(async (engine, store) => {
    store.inject('create', faults.lostReply(), ALWAYS);
    expect(await backUp(engine, source)).toMatchObject({ state: 'committed', counts: { changed: 1 } });
  });
  await expectNextWorks(0);
});

test('a disk that is full for the journal object fails the backup at once, with a void and TM1204', async () => {
  await withFaults(async (engine, store) => {
    store.inject('create', faults.full(), { prefix: 'journal/' });
    const before = await committed(engine);
    const started = performance.now();
    await expect(backUp(engine, source)).rejects.toEqual(code('TM1204'));
    expect(performance.now() - started).toBeLessThan(10_000);
    expect(await committed(engine)).toEqual(before);
    expect((await states(engine)).at(-1)).toMatchObject({ state: 'failed', failure: 'TM1204' });
  });
  await expectNextWorks(1);
});

test('a disk that stays full keeps nobody from reading; the backup is settled when there is room', async () => {
  await withFaults(async (engine, store) => {
    store.inject('create', faults.full(), ALWAYS);
    await expect(backUp(engine, source)).rejects.toEqual(code('TM1204'));
    expect((await states(engine)).at(-1)).toMatchObject({ state: 'committing' });
  });
  const status: string[] = [];
  const full = async (url: string, options: { create: boolean }) =>
    new FaultyStore(await openStore(url, options)).inject('create', faults.full(), ALWAYS);
  await rig.withEngine(
    'home',
    async (engine) => {
      expect((await committed(engine)).length).toBeGreaterThan(1);
      expect(status.join()).toContain('cannot be settled yet');
      await expect(backUp(engine, source)).rejects.toEqual(code('TM1204'));
    },
    { openStore: full, onStatus: (text) => status.push(text) },
  );
  await expectNextWorks(1);
});

test('a store that fails for good ends the command, and the next one settles the backup', {
  timeout: 120_000,
}, async () => {
  await withFaults(async (engine, store) => {
    store.inject('create', faults.failing(), ALWAYS);
    await expect(backUp(engine, source)).rejects.toEqual(code('TM1211'));
    expect((await states(engine)).at(-1)).toMatchObject({ state: 'committing' });
  });
  await rig.withEngine('home', async (engine) => {
    expect((await states(engine)).at(-1)).toMatchObject({ state: 'failed', failure: 'TM1502' });
  });
  await expectNextWorks(1);
});

/** Makes calls of the registry fail: before or after having had their effect. */
function failing(
  engine: Engine,
  call: 'committing' | 'commit',
  when: 'before' | 'after',
  times: number,
): void {
  const { backups } = engine.registry;
  const real = backups[call].bind(backups) as (...args: unknown[]) => Promise<unknown>;
  let calls = 0;
  const faulty = async (...args: unknown[]) => {
    const fails = ++calls <= times;
    const result = !fails || when === 'after' ? await real(...args) : undefined;
    if (fails) throw new TmError('TM1303', 'a fault of the test');
    return result;
  };
  Object.assign(backups, { [call]: faulty } as Partial<BackupsTable>);
}

test('a registry that fails at the commit, or whose reply is lost, commits when it is asked again', async () => {
  for (const when of ['before', 'after'] as const)
    for (const times of [1, 3]) {
      writeFileSync(`${source}/file`, `${when} ${times}`);
      await rig.withEngine('home', async (engine) => {
        failing(engine, 'commit', when, times);
        const info = await backUp(engine, source);
        expect(info).toMatchObject({ state: 'committed', counts: { changed: 1 } });
      });
    }
  await expectNextWorks(0);
});

test('a registry that fails at the commit for good leaves it to the journal: the next command finds it committed', async () => {
  await rig.withEngine('home', async (engine) => {
    failing(engine, 'commit', 'before', Number.POSITIVE_INFINITY);
    await expect(backUp(engine, source)).rejects.toEqual(code('TM1303'));
  });
  await rig.withEngine('home', async (engine) => {
    const last = (await engine.registry.backups.list({ all: true })).at(-1)!;
    expect(last).toMatchObject({ state: 'committed' });
    const { uid } = (await engine.registry.backups.sources()).find(({ id }) => id === last.sourceId)!;
    // Without its state everything would be read again, and what is a mount point would be forgotten.
    const stateFile = engine.home.stateFile(uid);
    const known = peekState(stateFile, stateIdentity(uid, last, last.stateDigest!), `${stateFile}.peeked`);
    expect(known).toBeDefined();
    known!.close();
  });
  await expectNextWorks(0);
});

test('a registry that fails before the journal object leaves nothing committed, or commits on the next try', async () => {
  await rig.withEngine('home', async (engine) => {
    failing(engine, 'committing', 'before', 1);
    expect(await backUp(engine, source)).toMatchObject({ state: 'committed' });
  });
  writeFileSync(`${source}/file`, 'once more');
  await rig.withEngine('home', async (engine) => {
    failing(engine, 'committing', 'after', 1);
    await expect(backUp(engine, source)).rejects.toEqual(code('TM1303'));
    expect((await states(engine)).at(-1)).toMatchObject({ state: 'failed', failure: 'TM1303' });
  });
  await expectNextWorks(1);
});

/** A backup of another process that SIGKILL ends before or after its journal object was put. */
async function killed(when: 'before' | 'after', dir = source): Promise<void> {
  const config = JSON.stringify(rig.config('home'));
  const child = spawn(process.execPath, [STALLING, config, dir, when], {
    env: rig.env('home'),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<NodeJS.Signals | null>((resolve) =>
    child.once('exit', (_code, signal) => resolve(signal)),
  );
  await Promise.race([new Promise((resolve) => child.stdout.once('data', resolve)), ended]);
  child.kill('SIGKILL');
  expect(await ended).toBe('SIGKILL');
}

test('SIGKILL before the journal object fails the backup, after it the backup is committed', {
  timeout: 120_000,
}, async () => {
  const before = await rig.withEngine('home', committed);
  await killed('before');
  expect(await rig.withEngine('home', committed)).toEqual(before);
  await killed('after');
  const labels = await rig.withEngine('home', committed);
  expect(labels).toHaveLength(before.length + 1);
  expect(rig.done('home', 'diff', labels.at(-2)!, labels.at(-1)!).lines).toContainEqual(
    expect.objectContaining({ path: 'file' }),
  );
  await expectNextWorks(0);
});

test('a process that is at work takes in what another one of the home left in the journal', {
  timeout: 120_000,
}, async () => {
  const other = rig.path('other source');
  mkdirSync(other);
  await rig.withEngine('home', (engine) => backUp(engine, other));
  await rig.withEngine('home', async (engine) => {
    await killed('after', other);
    const before = await committed(engine);
    expect(await backUp(engine, source)).toMatchObject({ state: 'committed' });
    expect(await committed(engine)).toHaveLength(before.length + 2);
  });
  await expectNextWorks(0);
});
