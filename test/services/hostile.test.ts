import { createHash, randomBytes } from 'node:crypto';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { BackupView } from '../../libs/contracts/api/control-views.ts';
import { MAX_MESSAGE_BYTES } from '../../libs/contracts/wire/limits.ts';
import { sign } from '../../libs/contracts/wire/mac.ts';
import { KafkaRig, type PlainRecord } from '../../libs/transport/kafka/kafka-rig.suite.ts';
import { commitEvents, distinct } from './commit-events.ts';
import { Fleet } from './fleet.ts';
import { Gate, type Held, type Passing } from './gate.ts';
import { kafkaMissing } from './kafka.ts';
import { RegistryView, until } from './registry-view.ts';
import { type ServiceProcess, Stack } from './stack.ts';

type Piece = 'change-events' | 'delta-sets';

/** An open backup, and all that it takes to write messages in its name. */
interface OpenRow {
  readonly id: string;
  readonly source: number;
  readonly epoch: string;
  readonly macKey: Buffer;
}

const AGENT = 'one';
const LONG = 60_000;
const missing = kafkaMissing();

let stack: Stack;
let gate: Gate;
let fleet: Fleet;
let registry: RegistryView;
let kafka: KafkaRig;
let agent: ServiceProcess;
let changes = 0;

/** A new file, and one that has other bytes now. */
function change(): void {
  writeFileSync(join(fleet.tree(AGENT), `new ${++changes}`), randomBytes(200_000));
  writeFileSync(join(fleet.tree(AGENT), 'changing'), createHash('sha256').update(String(changes)).digest());
}

async function expectNextBackup(): Promise<void> {
  change();
  expect(await fleet.once(AGENT)).toMatchObject({ kind: 'differential' });
}

const isFrames = ({ method, url }: Passing): boolean => method === 'POST' && url.endsWith('/frames');

async function openBackup(): Promise<OpenRow> {
  const [row] = await registry.rows<OpenRow>(
    `select id, source, generation || '.' || counter as epoch, mac_key as "macKey" from backups where state = 'open'`,
  );
  return row!;
}

/** A backup with something to store, while `work` is done before its frames reach the writer. */
async function during(work: (open: OpenRow, frames: Held) => Promise<void>): Promise<BackupView | undefined> {
  change();
  const caught = gate.catch('before', isFrames);
  const backup = fleet.once(AGENT);
  const frames = await caught;
  try {
    await work(await openBackup(), frames);
  } finally {
    frames.release();
  }
  return backup;
}

const outcomeOf = async (id: string) => {
  const { state, failure } = (await registry.backups()).find((row) => row.id === id)!;
  return { state, failure };
};

/** Puts a message in a backup's name on a topic. */
async function put(topic: Piece, { id, source, epoch, macKey }: OpenRow, value: Buffer): Promise<void> {
  const type = topic === 'change-events' ? 'batch' : 'segment';
  const headers = { backup: id, source: String(source), epoch, shard: '0', batch: '99', schema: '1', type };
  const mac = sign(topic, headers, value, macKey);
  await kafka.put(topic, [{ key: `${source}:0`, headers: { ...headers, mac }, value }]);
}

/** What a service that reads the topic has counted, by the labels of the metric. */
async function metric(topic: Piece, labels: string): Promise<number> {
  const [service] = topic === 'change-events' ? stack.calculators : stack.writers;
  const text = await (await fetch(`${service!.url}/metrics`)).text();
  const line = text.split('\n').find((one) => one.includes(labels));
  return Number(line?.split(' ').at(-1) ?? 0);
}
const counted = (topic: Piece, what: string) =>
  metric(topic, `tidemark_messages_total{topic="${topic}",what="${what}"}`);

/** The letters that the topic's DLQ has more than before, once it has any. */
async function newLetter(topic: Piece, before: number): Promise<PlainRecord> {
  const dlq = `${topic}.dlq`;
  const count = await until(async () => {
    const now = await kafka.count(dlq);
    return now > before && now;
  });
  const letters = (await kafka.read(dlq, count)).filter(({ headers }) => !known.has(String(headers.origin)));
  expect(letters).toHaveLength(1);
  known.add(String(letters[0]!.headers.origin));
  return letters[0]!;
}
const known = new Set<string>();

/** A message that has to end in the DLQ with the code, as it was. */
async function expectBuried(
  topic: Piece,
  code: string,
  what: string,
  value: Buffer,
  send: () => Promise<void>,
) {
  const [letters, before] = [await kafka.count(`${topic}.dlq`), await counted(topic, what)];
  await send();
  const letter = await newLetter(topic, letters);
  expect(String(letter.headers['error-code'])).toBe(code);
  expect(String(letter.headers.origin)).toMatch(new RegExp(`^${topic}/0@\\d+$`));
  expect(letter.value).toEqual(value);
  await until(async () => (await counted(topic, what)) === before + 1);
}

async function allRecords(topic: Piece): Promise<PlainRecord[]> {
  return kafka.read(topic, await kafka.count(topic));
}

if (missing !== undefined) it('hostile messages and agents', (context) => context.skip(missing));
else
  describe('hostile messages and agents', () => {
    beforeAll(async () => {
      stack = await Stack.start({
        controlEnv: { TIDEMARK_LEASE: '10' },
        writerUrl: async (url) => {
          gate = new Gate(url);
          return gate.door('writer');
        },
      });
      fleet = new Fleet(stack);
      registry = new RegistryView(stack.registryUrl);
      kafka = new KafkaRig({ cluster: stack.kafka });
      mkdirSync(fleet.tree(AGENT));
      change();
      agent = await stack.addAgent(AGENT, { TIDEMARK_SOURCES: fleet.tree(AGENT) });
      expect(await fleet.first(AGENT)).toMatchObject({ kind: 'full' });
      expect(fleet.failures).toEqual([]);
    }, 180_000);

    afterAll(async () => {
      fleet?.close();
      await registry?.close();
      await stack?.close();
      await gate?.close();
    }, 60_000);

    afterEach(({ task }) => {
      if (task.result?.state === 'fail') process.stderr.write(stack.troubles);
    });

    it.each([
      ['poison', 'TM1505', 'change-events', Buffer.from('{"type":"batch","count":')],
      ['poison', 'TM1505', 'delta-sets', Buffer.from('{"type":"segment"}')],
      ['oversized', 'TM1511', 'change-events', Buffer.alloc(MAX_MESSAGE_BYTES + 1, ' ')],
      ['oversized', 'TM1511', 'delta-sets', Buffer.alloc(MAX_MESSAGE_BYTES + 1, ' ')],
    ] as const)(
      '%s with a valid MAC is %s: %s.dlq holds it, its backup fails, the next one is committed',
      {
        timeout: LONG,
      },
      async (_, code, topic, value) => {
        const failed = () => metric(topic, `tidemark_backups_ended_total{state="failed",code="${code}"}`);
        const before = await failed();
        const backup = await during(async (open) => {
          await expectBuried(topic, code, 'poisoned', value, () => put(topic, open, value));
          expect(await outcomeOf(open.id)).toEqual({ state: 'failed', failure: code });
          expect(await failed()).toBe(before + 1);
        });
        expect(backup).toBeUndefined();
        await expectNextBackup();
      },
    );

    it.each(['change-events', 'delta-sets'] as const)(
      'forged is TM1510: %s.dlq holds it, it is counted, and its backup goes on',
      { timeout: LONG },
      async (topic) => {
        const value = Buffer.from('{"type":"batch","count":0}');
        const backup = await during(async (open) => {
          const forged = { ...open, macKey: randomBytes(32) };
          await expectBuried(topic, 'TM1510', 'forged', value, () => put(topic, forged, value));
        });
        expect(backup).toMatchObject({ state: 'committed' });
        await expectNextBackup();
      },
    );

    it('duplicated: every message of an open backup comes twice on both topics; it is committed once', {
      timeout: LONG,
    }, async () => {
      const unlock = await registry.lock('entries', 'share');
      change();
      const backup = fleet.once(AGENT);
      await registry.waiting([stack.writers[0]!.name], /entries/);
      const { id } = await openBackup();
      // Each change event that comes again makes its delta set anew.
      for (const topic of ['change-events', 'delta-sets'] as const) {
        const types = topic === 'change-events' ? ['batch', 'seal'] : ['seal', 'seal', 'segment', 'segment'];
        const own = await until(async () => {
          const all = await allRecords(topic);
          const found = all.filter(({ headers }) => String(headers.backup) === id);
          return found.length === types.length && found;
        });
        expect(own.map(({ headers }) => String(headers.type)).toSorted()).toEqual(types);
        await kafka.put(
          topic,
          own.map(({ key, headers, value }) => ({ key: key ?? null, headers, value })),
        );
      }
      await unlock();
      expect(await backup).toMatchObject({ id, state: 'committed' });
      const events = distinct(await commitEvents(stack, registry));
      expect(events.filter(({ data }) => data.backupId === id).map(({ type }) => type)).toEqual([
        'backup.committed',
      ]);
      await expectNextBackup();
    });

    it('replayed from zero: both topics again from their beginning are late, each message, and change nothing', {
      timeout: LONG,
    }, async () => {
      const [backups, letters] = [await registry.backups(), await lettersNow()];
      const topics = ['change-events', 'delta-sets'] as const;
      for (const topic of topics) {
        const all = await allRecords(topic);
        await kafka.put(
          topic,
          all.map(({ key, headers, value }) => ({ key: key ?? null, headers, value })),
        );
      }
      const services = [...stack.calculators, ...stack.writers];
      expect(await Promise.all(services.map((service) => service.stop()))).toEqual([0, 0]);
      await kafka.withAdmin(async (admin) => {
        for (const [name, topic] of [
          ['delta-calculator', 'change-events'],
          ['storage-writer', 'delta-sets'],
        ] as const)
          await admin.resetOffsets({ groupId: `tidemark.${name}.${topic}`, topic, earliest: true });
      });
      for (const service of services) service.start();
      await Promise.all(services.map((service) => service.ready()));
      for (const topic of topics) {
        const count = await kafka.count(topic);
        await until(async () => (await counted(topic, 'in')) === count);
        expect(await counted(topic, 'late')).toBe(count);
      }
      expect(await registry.backups()).toEqual(backups);
      expect(await lettersNow()).toEqual(letters);
      await expectNextBackup();
    });

    const lettersNow = () =>
      Promise.all(['change-events.dlq', 'delta-sets.dlq'].map((dlq) => kafka.count(dlq)));

    it('a stale agent: stopped until its lease was over it is TM1512; what it does when it goes on is TM1502', {
      timeout: LONG,
    }, async () => {
      const backup = await during(async (open) => {
        agent.kill('SIGSTOP');
        try {
          await until(async () => (await outcomeOf(open.id)).state === 'failed');
          expect(await outcomeOf(open.id)).toEqual({ state: 'failed', failure: 'TM1512' });
          const line = stack.control.log.split('\n').find((one) => one.includes('"code":"TM1512"'));
          expect(JSON.parse(line!)).toMatchObject({ level: 'warn', backup: open.id });
          const [late, letters] = [await counted('change-events', 'late'), await lettersNow()];
          await put('change-events', open, Buffer.from('{}'));
          await until(async () => (await counted('change-events', 'late')) === late + 1);
          expect(await lettersNow()).toEqual(letters);
        } finally {
          agent.kill('SIGCONT');
        }
      });
      expect(backup).toBeUndefined();
      expect(fleet.failures.at(-1)).toBe('TM1502');
      await expectNextBackup();
    });

    it('a second agent with a copied home is TM1803 and opens nothing; the first goes on', {
      timeout: LONG,
    }, async () => {
      cpSync(stack.homeOf(AGENT), stack.homeOf('copy'), { recursive: true });
      const copy = await stack.agentOn('copy', { TIDEMARK_SOURCES: fleet.tree(AGENT) });
      copy.start();
      await until(async () => copy.log.includes('"code":"TM1803"'));
      await expectNextBackup();
      const before = copy.log.split('TM1803').length;
      await until(async () => copy.log.split('TM1803').length > before);
      expect(copy.log).not.toContain('backup opened');
      await copy.crash();
      await expectNextBackup();
    });

    it('a frames body cut in the middle stores nothing, is sent again, and the backup is committed', {
      timeout: LONG,
    }, async () => {
      change();
      const packs = () => registry.rows<{ id: string }>('select * from packs');
      const before = (await packs()).length;
      const caught = gate.catch('cut', isFrames);
      const again = gate.catch('before', isFrames);
      const backup = fleet.once(AGENT);
      await caught;
      const frames = await again;
      expect(await packs()).toHaveLength(before);
      frames.release();
      expect(await backup).toMatchObject({ state: 'committed' });
      await expectNextBackup();
    });

    it('a frame stream without its end is TM1810, is sent again, and the backup is committed', {
      timeout: LONG,
    }, async () => {
      change();
      const caught = gate.catch('shortened', isFrames);
      const backup = fleet.once(AGENT);
      expect(JSON.parse((await caught).answer!)).toMatchObject({ code: 'TM1810' });
      expect(await backup).toMatchObject({ state: 'committed' });
      await expectNextBackup();
    });

    it('all that was committed meanwhile restores exactly', { timeout: 120_000 }, async () => {
      const alive = stack.services.filter(({ log }) => !log.includes('TM1803'));
      expect(await Promise.all(alive.map((service) => service.stop()))).toEqual(alive.map(() => 0));
      const committed = (await registry.backups()).filter(({ state }) => state === 'committed');
      expect(fleet.kept).toHaveLength(committed.length);
      await fleet.expectAllRestored();
    });
  });
