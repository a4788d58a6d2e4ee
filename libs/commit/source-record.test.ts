import { expect, test } from 'vitest';
import { sealSource, sourceRecord } from './source-record.ts';

const SOURCE = {
  uid: 'u',
  domain: 'd',
  agent: 'host',
  agentUid: undefined,
  root: Buffer.from([0x2f, 0xff]),
  key: Buffer.alloc(32, 3),
};
const SECRET = { root: 'L/8=', agent: 'host', key: SOURCE.key.toString('base64') };

async function sealed(agentUid: string | undefined): Promise<unknown> {
  let plain: Buffer | undefined;
  await sealSource({ ...SOURCE, agentUid }, async (bytes) => {
    plain = bytes;
    return { bytes } as never;
  });
  return JSON.parse(plain!.toString());
}

test('a source is restorable with its agent: the uid is sealed with the name, and only where there is one', async () => {
  expect(await sealed(undefined)).toEqual(SECRET);
  expect(await sealed('agent-uid')).toEqual({ ...SECRET, agentUid: 'agent-uid' });
});

test('nothing of it is in the clear but ids', () => {
  expect(sourceRecord(SOURCE, 4)).toEqual({ kind: 'source', uid: 'u', domain: 'd', sealed: 4 });
});
