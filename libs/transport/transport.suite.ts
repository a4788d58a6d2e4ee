import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ChangeMessage, DeltaSegment } from '../contracts/messages.ts';
import { blake3 } from '../model/digests.ts';
import { TmError } from '../model/errors.ts';
import { RecordWriter } from '../model/records.ts';
import type { Handler, Topic, Transport } from './port.ts';

export interface TransportOptions {
  /** Transports of one place have the same topics and are of one group. */
  readonly place: string;
  readonly capacity?: number;
  readonly batch?: number;
  readonly tries?: number;
  readonly onPoison: (topic: Topic, message: unknown, error: unknown) => Promise<void>;
}

/** What an adapter does not do by its nature, each with the reason. */
export interface Lacks {
  /** Publishers wait until the handler has made room. */
  readonly backPressure?: string;
  /** What was not handled is there for whoever comes next. */
  readonly redelivery?: string;
  /** While messages of one key wait to come again, those of others go on. */
  readonly pause?: string;
}

export type MakeTransport = (options: TransportOptions) => Promise<Transport>;

const bodyOf = (batchNo: number): Buffer => {
  const writer = new RecordWriter();
  writer.gone(Buffer.from('dir'), Buffer.from([0x30 + (batchNo % 7), 255]));
  return writer.finish();
};

/** A message of a source (the key is source and shard); `batchNo` tells it from others. */
const message = (batchNo: number, sourceId = 1, shard = 0): ChangeMessage => {
  const epoch = { generation: 1, counter: 1 };
  const header = { backupId: `backup of ${sourceId}`, sourceId, epoch, shard, batchNo, schema: 1 as const };
  const body = bodyOf(batchNo);
  return { type: 'batch', header, count: 1, body, digest: blake3(body) };
};
const segment = (batchNo: number): DeltaSegment => {
  const { header } = message(batchNo);
  const counts = { added: 0, changed: 0, metadata: 0, deleted: 1, equal: 0, kept: 0 };
  const body = bodyOf(batchNo);
  return {
    type: 'segment',
    header,
    batchCount: 1,
    batchDigest: blake3(body),
    count: 1,
    body,
    hashes: Buffer.alloc(32),
    asBaseline: Buffer.alloc(1),
    added: Buffer.alloc(32),
    removed: Buffer.alloc(32),
    counts,
  };
};
const messages = (count: number, sourceId?: number, shard?: number): ChangeMessage[] =>
  Array.from({ length: count }, (_, i) => message(i, sourceId, shard));
const numberOf = (one: unknown): number => (one as ChangeMessage).header.batchNo;

/** Collects what a handler got; `until` resolves once there are so many. */
class Inbox {
  readonly got: ChangeMessage[] = [];
  #waiting: { count: number; resolve: () => void }[] = [];

  add(more: readonly ChangeMessage[]): void {
    this.got.push(...more);
    for (const { count, resolve } of this.#waiting) if (this.got.length >= count) resolve();
  }

  until(count: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.got.length >= count) resolve();
      else this.#waiting.push({ count, resolve });
    });
  }

  get numbers(): number[] {
    return this.got.map(numberOf);
  }
}

/** What every adapter of the transport port promises. */
export function transportSuite(name: string, make: MakeTransport, lacks: Lacks = {}): void {
  describe(`transport: ${name}`, () => {
    const open: Transport[] = [];
    let places = 0;
    let place = '';
    beforeEach(() => {
      place = `suite-${process.pid}-${++places}`;
    });
    const poisoned: { topic: Topic; no: number; error: unknown }[] = [];
    const start = async (
      handler: Handler<'change-events'> | undefined,
      options: Partial<TransportOptions> = {},
    ) => {
      poisoned.length = 0;
      const onPoison = async (topic: Topic, one: unknown, error: unknown) => {
        poisoned.push({ topic, no: numberOf(one), error });
      };
      const transport = await make({ place, onPoison, ...options });
      open.push(transport);
      if (handler) transport.subscribe('change-events', handler);
      return transport;
    };
    afterEach(async () => {
      await Promise.all(open.splice(0).map((transport) => transport.close()));
    });
    flowCases(start);
    errorCases(start, poisoned);
    endCases(start);
    if (!lacks.backPressure) backPressureCases(start);
    if (!lacks.redelivery) redeliveryCases(start, poisoned);
    if (!lacks.pause) pauseCases(start);
  });
}

type Start = (
  handler: Handler<'change-events'> | undefined,
  options?: Partial<TransportOptions>,
) => Promise<Transport>;

function flowCases(start: Start): void {
  it('hands messages over whole and, within a key, in the order in which they were published', async () => {
    const inbox = new Inbox();
    const transport = await start(async (some) => inbox.add(some));
    await Promise.all([1, 2, 3].map((id) => transport.publish('change-events', messages(100, id))));
    await inbox.until(300);
    for (const id of [1, 2, 3]) {
      const own = inbox.got.filter(({ header }) => header.sourceId === id);
      expect(own).toEqual(messages(100, id));
    }
  });

  it('keeps what was published before there was a handler', async () => {
    const transport = await start(undefined);
    await transport.publish('change-events', messages(5));
    const inbox = new Inbox();
    transport.subscribe('change-events', async (some) => inbox.add(some));
    await inbox.until(5);
    expect(inbox.numbers).toEqual([0, 1, 2, 3, 4]);
  });

  it('keeps topics apart: a handler that stands still holds up its own only', async () => {
    const release = Promise.withResolvers<void>();
    const transport = await start(() => release.promise);
    const inbox = new Inbox();
    transport.subscribe('delta-sets', async (some) => inbox.add(some as unknown as ChangeMessage[]));
    await transport.publish('change-events', [message(0)]);
    const segments = [0, 1, 2].map(segment);
    await transport.publish('delta-sets', segments);
    await inbox.until(3);
    expect(inbox.got).toEqual(segments);
    release.resolve();
  });

  it('runs one handler at a time, also while more is published', async () => {
    const inbox = new Inbox();
    let running = 0;
    const transport = await start(async (some) => {
      expect(++running).toBe(1);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
      inbox.add(some);
    });
    await Promise.all(messages(50).map((one) => transport.publish('change-events', [one])));
    await inbox.until(50);
    expect(inbox.got).toHaveLength(50);
  });

  it('takes more messages in one publish than it holds', async () => {
    const inbox = new Inbox();
    const transport = await start(async (some) => inbox.add(some), { capacity: 3 });
    await transport.publish('change-events', messages(100));
    await inbox.until(100);
    expect(inbox.numbers).toEqual(messages(100).map(numberOf));
  });
}

function errorCases(start: Start, poisoned: readonly { topic: Topic; no: number; error: unknown }[]): void {
  it('delivers again after an error that may be retried, losing and passing over nothing', async () => {
    const inbox = new Inbox();
    let failures = 3;
    const transport = await start(async (some) => {
      if (some.some((one) => numberOf(one) === 4) && failures-- > 0)
        throw new TmError('TM1303', 'of the test');
      inbox.add(some);
    });
    await transport.publish('change-events', messages(10));
    await inbox.until(10);
    expect(inbox.numbers).toEqual(messages(10).map(numberOf));
    expect(poisoned).toEqual([]);
  });

  it('sets aside what cannot be handled, with its error, and goes on with the rest', async () => {
    const inbox = new Inbox();
    const errors = [new TmError('TM1505', 'of the test'), new Error('no code')];
    const transport = await start(
      async (some) => {
        for (const one of some) {
          if (numberOf(one) === 2) throw errors[0];
          if (numberOf(one) === 5) throw errors[1];
        }
        inbox.add(some);
      },
      { batch: 1 },
    );
    await transport.publish('change-events', messages(8));
    await inbox.until(6);
    expect(inbox.numbers).toEqual([0, 1, 3, 4, 6, 7]);
    expect(poisoned).toEqual([
      { topic: 'change-events', no: 2, error: errors[0] },
      { topic: 'change-events', no: 5, error: errors[1] },
    ]);
  });

  it('sets aside the message that fails, not those that came with it', async () => {
    const inbox = new Inbox();
    const error = new TmError('TM1505', 'of the test');
    const transport = await start(
      async (some) => {
        if (some.some((one) => numberOf(one) === 2)) throw error;
        inbox.add(some);
      },
      { batch: 4 },
    );
    await transport.publish('change-events', messages(8));
    await inbox.until(7);
    expect(inbox.numbers).toEqual([0, 1, 3, 4, 5, 6, 7]);
    expect(poisoned).toEqual([{ topic: 'change-events', no: 2, error }]);
  });

  it('gives up a message whose error stays, after its tries', async () => {
    const inbox = new Inbox();
    let tries = 0;
    const transport = await start(
      async (some) => {
        if (some.some((one) => numberOf(one) === 0)) {
          tries++;
          throw new TmError('TM1303', 'of the test');
        }
        inbox.add(some);
      },
      { tries: 3, batch: 1 },
    );
    await transport.publish('change-events', messages(3));
    await inbox.until(2);
    expect(tries).toBe(3);
    expect(poisoned.map(({ no }) => no)).toEqual([0]);
  });
}

function endCases(start: Start): void {
  it('waits at close for the handler that runs', async () => {
    const begun = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    let isDone = false;
    const transport = await start(async () => {
      begun.resolve();
      await release.promise;
      isDone = true;
    });
    await transport.publish('change-events', [message(0)]);
    await begun.promise;
    const closing = transport.close();
    release.resolve();
    await closing;
    expect(isDone).toBe(true);
  });

  it('refuses to publish once closed, and may be closed twice', async () => {
    const transport = await start(async () => {});
    await transport.publish('change-events', [message(0)]);
    await transport.close();
    await expect(transport.publish('change-events', [message(9)])).rejects.toMatchObject({ code: 'TM1508' });
    await transport.close();
  });

  it('hands over nothing once closed', async () => {
    const inbox = new Inbox();
    const transport = await start(async (some) => inbox.add(some));
    await transport.close();
    await transport.publish('change-events', [message(0)]).catch(() => {});
    await new Promise((resolve) => setImmediate(resolve));
    expect(inbox.got).toEqual([]);
  });
}

function backPressureCases(start: Start): void {
  it('makes publishers wait at capacity, and lets them go on when there is room', async () => {
    const release = Promise.withResolvers<void>();
    const inbox = new Inbox();
    const transport = await start(
      async (some) => {
        await release.promise;
        inbox.add(some);
      },
      { capacity: 4, batch: 2 },
    );
    let accepted = 0;
    const publishing = Promise.all(
      messages(20).map((one) => transport.publish('change-events', [one]).then(() => accepted++)),
    );
    for (let i = 0; i < 100; i++) await new Promise((resolve) => setImmediate(resolve));
    expect(accepted).toBeGreaterThanOrEqual(4);
    expect(accepted).toBeLessThanOrEqual(6);
    release.resolve();
    await publishing;
    await inbox.until(20);
    expect(inbox.numbers).toEqual(messages(20).map(numberOf));
  });

  it('refuses to publish once closed, also to those who wait for room, and may be closed twice', async () => {
    const release = Promise.withResolvers<void>();
    const transport = await start(() => release.promise, { capacity: 1, batch: 1 });
    await transport.publish('change-events', [message(0)]);
    const waiting = transport.publish('change-events', messages(5));
    const refused = expect(waiting).rejects.toMatchObject({ code: 'TM1508' });
    const closing = transport.close();
    release.resolve();
    await closing;
    await refused;
    await expect(transport.publish('change-events', [message(9)])).rejects.toMatchObject({ code: 'TM1508' });
    await transport.close();
  });
}

function redeliveryCases(start: Start, poisoned: readonly unknown[]): void {
  it('has what a handler could not take come again, to whoever takes over', async () => {
    const tried = Promise.withResolvers<void>();
    const first = await start(async () => {
      tried.resolve();
      throw new TmError('TM1303', 'of the test');
    });
    await first.publish('change-events', messages(5));
    await tried.promise;
    await first.close();
    const inbox = new Inbox();
    await start(async (some) => inbox.add(some));
    await inbox.until(5);
    expect(inbox.numbers).toEqual([0, 1, 2, 3, 4]);
    expect(poisoned).toEqual([]);
  });

  it('hands nothing over again that was taken: the next one goes on where the last one stopped', async () => {
    const taken = new Inbox();
    const first = await start(async (some) => taken.add(some), { batch: 2 });
    await first.publish('change-events', messages(6));
    await taken.until(6);
    await first.close();
    const inbox = new Inbox();
    const second = await start(async (some) => inbox.add(some));
    await second.publish('change-events', [message(6)]);
    await inbox.until(1);
    expect(inbox.numbers).toEqual([6]);
  });
}

function pauseCases(start: Start): void {
  it('goes on with other keys while messages of one wait to come again, and then in their order', async () => {
    const inbox = new Inbox();
    let isDown = true;
    const transport = await start(
      async (some) => {
        if (isDown && some.some(({ header }) => header.sourceId === 1))
          throw new TmError('TM1303', 'of the test');
        inbox.add(some);
      },
      { batch: 1 },
    );
    await transport.publish('change-events', messages(4, 1));
    for (const id of [2, 3, 4, 5]) await transport.publish('change-events', messages(4, id));
    const others = () => inbox.got.filter(({ header }) => header.sourceId !== 1).length;
    while (others() < 4) await inbox.until(inbox.got.length + 1);
    expect(others()).toBe(inbox.got.length);
    isDown = false;
    await inbox.until(20);
    const own = inbox.got.filter(({ header }) => header.sourceId === 1);
    expect(own.map(numberOf)).toEqual([0, 1, 2, 3]);
  });
}
