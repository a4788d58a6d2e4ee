import { randomUUID } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { unwrapDomain } from '../blocks/keys.ts';
import { agentRoutes, backupRoutes, catalogueRoutes, controlRoutes } from '../contracts/api/control.ts';
import type { HttpClient } from '../http/client.ts';
import { BINARY, type Route } from '../http/route.ts';
import { ControlRig, type Running, type TestAgent } from './rig.suite.ts';
import { makeToken } from './tokens.ts';

let rig: ControlRig;
let one: Running;
let two: Running;
let agent: TestAgent;
let reader: HttpClient;

beforeAll(async () => {
  rig = await ControlRig.make();
  one = await rig.run();
  two = await rig.run();
  agent = await rig.agent(one, 'host');
  reader = await rig.reader(one);
});
afterAll(() => rig.close());

const refused = (code: string) => expect.objectContaining({ code });

test('enrolling makes an agent, its token and a domain whose keys the recipient opens', async () => {
  const { keys } = await reader.call(catalogueRoutes.domainKeys, { params: { domain: agent.domain.id } });
  expect(keys).toHaveLength(1);
  const secret = await unwrapDomain(Buffer.from(keys[0]!.wrapped, 'base64'), rig.identity);
  expect(secret).toMatchObject({ id: agent.domain.id, recipient: agent.domain.recipient });
  expect(secret.dedupKey.toString('base64')).toBe(agent.domain.dedupKey);
  const { agents } = await reader.call(agentRoutes.listAgents, { query: {} });
  expect(agents).toContainEqual(expect.objectContaining({ id: agent.id, name: 'host', revokedAt: null }));
});

test('each agent has a domain of its own, or joins the one its token names; the digest key is the store’s', async () => {
  const other = await rig.agent(two, 'other');
  const joined = await rig.agent(one, 'joined', { domain: agent.domain.id });
  expect(other.domain.id).not.toBe(agent.domain.id);
  expect(other.domain.dedupKey).not.toBe(agent.domain.dedupKey);
  expect(other.domain.digestKey).toBe(agent.domain.digestKey);
  expect(joined.domain).toEqual(agent.domain);
});

test('of two that enrol with one token at the same time one wins, and nobody after it', async () => {
  const token = await rig.token(one, 'enrol');
  const enrol = (running: Running, name: string) =>
    running.server.client(token).call(agentRoutes.enrol, { body: { name } });
  const results = await Promise.allSettled([enrol(one, 'first'), enrol(two, 'second')]);
  expect(results.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
  expect(results.find((result) => result.status === 'rejected')?.reason).toMatchObject({ code: 'TM1804' });
  await expect(enrol(one, 'third')).rejects.toEqual(refused('TM1804'));
  const { agents } = await reader.call(agentRoutes.listAgents, { query: {} });
  expect(agents.filter(({ name }) => ['first', 'second', 'third'].includes(name))).toHaveLength(1);
});

test('two first enrolments at once agree on the digest key', async () => {
  const both = await Promise.all([rig.agent(one, 'a'), rig.agent(two, 'b')]);
  expect(new Set(both.map(({ domain }) => domain.digestKey)).size).toBe(1);
});

test('a token that is unknown, altered, expired or revoked is refused, by the other control plane within seconds', async () => {
  const call = (token: string, running = one) =>
    running.server.client(token).call(catalogueRoutes.status, { query: {} });
  await expect(call('nonsense')).rejects.toEqual(refused('TM1801'));
  const body = { kind: 'reader' as const, name: 'r' };
  const made = await rig.admin(one).call(agentRoutes.makeToken, { body });
  await expect(call(`${made.token.slice(0, -2)}xx`)).rejects.toEqual(refused('TM1801'));
  await expect(call(made.token.replace('_reader_', '_admin_'))).rejects.toEqual(refused('TM1801'));
  await call(made.token);
  await call(made.token, two);
  await rig.admin(one).call(agentRoutes.revokeToken, { params: { id: made.id } });
  await expect(call(made.token)).rejects.toEqual(refused('TM1801'));
  await expect
    .poll(
      () =>
        call(made.token, two).then(
          () => 'accepted',
          ({ code }) => code,
        ),
      { timeout: 8000, interval: 200 },
    )
    .toBe('TM1801');
});

test('an expired token is refused, of any kind', async () => {
  const { access } = one.cell.registry;
  const expired = async (kind: 'enrol' | 'reader') => {
    const id = randomUUID();
    const { text, hash } = makeToken(kind, id);
    await access.createToken({ id, kind, hash, name: 'expired', seconds: -1 });
    return one.server.client(text);
  };
  const reading = (await expired('reader')).call(catalogueRoutes.status, { query: {} });
  await expect(reading).rejects.toEqual(refused('TM1801'));
  const enrolling = (await expired('enrol')).call(agentRoutes.enrol, { body: { name: 'late' } });
  await expect(enrolling).rejects.toEqual(refused('TM1804'));
});

test('every route refuses every role that is not its own', async () => {
  const enrolling = one.server.client(await rig.token(one, 'enrol'));
  const clients = { enrol: enrolling, agent: agent.client, reader };
  for (const [name, route] of Object.entries(controlRoutes) as [string, Route][]) {
    const input = { params: { id: randomUUID(), domain: randomUUID() }, query: {}, body: {} };
    for (const [role, client] of Object.entries(clients)) {
      if ((route.roles as readonly string[]).includes(role)) continue;
      const answer =
        route.reply === BINARY ? client.stream(route, input as never) : client.call(route, input as never);
      await expect(answer, `${name} by ${role}`).rejects.toEqual(refused('TM1802'));
    }
  }
});

test('nobody is let in without a token', async () => {
  for (const route of [agentRoutes.enrol, backupRoutes.open, catalogueRoutes.status] as Route[])
    await expect(one.server.client().call(route, { query: {}, body: {} } as never)).rejects.toEqual(
      refused('TM1801'),
    );
});

test('a second process with the same identity is refused until the first has signed off', async () => {
  const copied = await rig.agent(one, 'copied');
  const instance = randomUUID();
  for (const running of [one, two]) {
    const copy = running.server.client(copied.token, { instance });
    await expect(copy.call(agentRoutes.signOn, { body: {} })).rejects.toEqual(refused('TM1803'));
    const open = { body: { root: '/copied' } };
    await expect(copy.call(backupRoutes.open, open)).rejects.toEqual(refused('TM1803'));
  }
  await copied.client.call(agentRoutes.signOff, { body: {} });
  const copy = two.server.client(copied.token, { instance });
  expect((await copy.call(agentRoutes.signOn, { body: {} })).agent.id).toBe(copied.id);
  await expect(copied.client.call(agentRoutes.signOn, { body: {} })).rejects.toEqual(refused('TM1803'));
});

test('an agent that is revoked is refused; one whose host was set up anew goes on with a new token', async () => {
  const lost = await rig.agent(one, 'lost');
  const opened = await rig.open(lost, '/lost');
  const again = await rig.agent(one, 'ignored', { agent: lost.id });
  expect(again).toMatchObject({ id: lost.id, domain: lost.domain });
  await expect(lost.client.call(agentRoutes.signOn, { body: {} })).rejects.toEqual(refused('TM1801'));
  const { sources } = await again.client.call(catalogueRoutes.listSources, { query: {} });
  expect(sources.map(({ id }) => id)).toEqual([opened.source.uid]);
  await rig.admin(one).call(agentRoutes.revokeToken, { params: { id: lost.id } });
  await expect(again.client.call(agentRoutes.signOn, { body: {} })).rejects.toEqual(refused('TM1801'));
});

test('no private key is left: the store holds keys for the recipient only', () => {
  const folder = join(rig.base, 'store', 'keys', agent.domain.id);
  expect(
    readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()),
  ).toHaveLength(1);
});
