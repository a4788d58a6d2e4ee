import { expect, test } from 'vitest';
import type { Admission, BackupsTable } from '../registry/port.ts';
import { BackupWaits } from './backup-waits.ts';

const NEVER = new AbortController().signal;

/** A registry whose backups end when they are told to. */
function registryOf(ended: Set<string>) {
  const asked: string[][] = [];
  const admissions: BackupsTable['admissions'] = async (ids) => {
    asked.push([...ids]);
    return new Map(ids.map((id) => [id, { state: ended.has(id) ? 'failed' : 'open' } as Admission]));
  };
  return { asked, registry: { backups: { admissions } as BackupsTable } };
}

test('one query asks for all that is waited for, and only while somebody waits', async () => {
  const ended = new Set<string>();
  const { asked, registry } = registryOf(ended);
  const waits = new BackupWaits(registry, { pollMs: 1 });
  const all = ['a', 'a', 'b'].map((id) => waits.wait(id, 60, NEVER));
  await expect.poll(() => asked.at(-1)).toEqual(['a', 'b']);
  ended.add('a').add('b');
  await Promise.all(all);
  const last = asked.length;
  await waits.wait('c', 0, NEVER);
  await waits.stop();
  expect(
    asked
      .slice(last)
      .flat()
      .every((id) => id === 'c'),
  ).toBe(true);
});

test('no more wait than may; whoever goes away makes room, and a stop answers all', async () => {
  const { registry } = registryOf(new Set());
  const waits = new BackupWaits(registry, { pollMs: 1, max: 2 });
  const gone = new AbortController();
  const [first, second] = [waits.wait('a', 60, gone.signal), waits.wait('a', 60, NEVER)];
  await expect(waits.wait('a', 60, NEVER)).rejects.toMatchObject({ code: 'TM1808', status: 503 });
  gone.abort();
  await first;
  const third = waits.wait('b', 60, NEVER);
  await waits.stop();
  await Promise.all([second, third]);
});
