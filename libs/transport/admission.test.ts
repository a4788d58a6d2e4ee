import { expect, test } from 'vitest';
import { sign } from '../contracts/wire/mac.ts';
import type { BackupState } from '../model/backup.ts';
import { type AdmittedBackup, judge } from './admission.ts';
import { EPOCH, macKeyOf } from './kafka/kafka-rig.suite.ts';
import { BACKUP, batch, signed } from './kafka/messages.suite.ts';

const known = (state: BackupState = 'open', epoch = EPOCH): AdmittedBackup => ({
  state,
  epoch,
  macKey: macKeyOf(BACKUP),
});
const verdict = (
  record: ReturnType<typeof signed>,
  backup?: AdmittedBackup,
  topic: 'change-events' | 'delta-sets' = 'change-events',
) => {
  const found = judge(topic, record, backup);
  if (found.kind === 'dead') return `${found.error.code} ${found.counter} ${found.backupId ?? 'no backup'}`;
  if (found.kind === 'drop') return found.counter;
  return found.kind === 'wait' ? found.error.code : 'taken';
};

test('the checks come in their order: backup, MAC, schema, form, epoch', () => {
  const wrongInAll = signed(batch(0, { epoch: { generation: 0, counter: 1 } }), {
    headers: { schema: '2' },
    value: Buffer.from('?'),
    key: Buffer.alloc(32),
  });
  expect(verdict(wrongInAll)).toBe('late');
  expect(verdict(wrongInAll, known('failed'))).toBe('late');
  expect(verdict(wrongInAll, known())).toBe('TM1510 forged no backup');
  const later = (headers: Record<string, string>, value: string) =>
    signed(batch(0), { headers, value: Buffer.from(value) });
  expect(verdict(later({ schema: '2', epoch: '0.1' }, '?'), known())).toBe('TM1514');
  expect(verdict(later({ epoch: '0.1' }, '?'), known())).toBe(`TM1505 poisoned ${BACKUP}`);
  expect(verdict(signed(batch(0, { epoch: { generation: 0, counter: 1 } })), known())).toBe('stale');
  expect(verdict(signed(batch(0)), known())).toBe('taken');
});

test('only backups that are open or sealed are believed; one that is being committed by who settles it', () => {
  const states: BackupState[] = ['open', 'sealed', 'committing', 'committed', 'failed', 'fenced', 'expired'];
  const taken = (topic: 'change-events' | 'delta-sets') =>
    states.filter((state) => verdict(signed(batch(0)), known(state), topic) !== 'late');
  expect(taken('change-events')).toEqual(['open', 'sealed']);
  expect(taken('delta-sets')).toEqual(['open', 'sealed', 'committing']);
});

test('an epoch that was never handed out, and a message of the other topic, are no messages', () => {
  expect(verdict(signed(batch(0, { epoch: { generation: 1, counter: 2 } })), known())).toBe(
    `TM1505 poisoned ${BACKUP}`,
  );
  const wire = signed(batch(0));
  const mac = sign('delta-sets', wire.headers, wire.value, macKeyOf(BACKUP));
  expect(verdict({ ...wire, headers: { ...wire.headers, mac } }, known(), 'delta-sets')).toBe(
    `TM1505 poisoned ${BACKUP}`,
  );
  expect(verdict(wire, known(), 'delta-sets')).toBe('TM1510 forged no backup');
});
