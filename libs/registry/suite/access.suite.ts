import { randomBytes, randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { codeOf, newSource } from '../fixtures.suite.ts';
import type { AgentRow, NewToken, TokenKind } from '../port.ts';
import type { RegistryUnderTest } from '../registry.suite.ts';

const newToken = (kind: TokenKind, more: Partial<NewToken> = {}): NewToken => ({
  id: randomBytes(8).toString('hex'),
  kind,
  hash: randomBytes(32),
  name: 'of somebody',
  ...more,
});

/** Who may talk to the services, domains and policies. */
export function accessCases(under: () => RegistryUnderTest): void {
  const access = () => under().registry.access;
  const newAgent = (name = 'host'): Promise<AgentRow> =>
    access().addAgent({ uid: randomUUID(), name, domain: 'd' });

  it('keeps tokens by their hash, in whatever state they are', async () => {
    const token = newToken('reader', { name: 'ä' });
    const made = await access().createToken(token);
    expect(made).toMatchObject({ ...token, agent: undefined, domain: undefined, state: 'valid' });
    expect(made.expiresAt).toBeUndefined();
    expect(await access().findToken(token.id)).toEqual(made);
    expect(await access().findToken('nobody')).toBeUndefined();
    expect(await codeOf(access().createToken(token))).toBe('TM1303');
    expect((await access().tokens()).map(({ id }) => id)).toContain(token.id);
    expect(await access().revoke({ token: token.id })).toBe(true);
    const revoked = await access().findToken(token.id);
    expect(revoked?.state).toBe('revoked');
    expect(await access().revoke({ token: token.id })).toBe(true);
    expect(await access().findToken(token.id)).toEqual(revoked);
    expect(await access().revoke({ token: 'nobody' })).toBe(false);
  });

  it('lets tokens expire by the clock of the registry', async () => {
    const [over, lasting] = [newToken('admin', { seconds: 0 }), newToken('admin', { seconds: 3600 })];
    expect((await access().createToken(over)).state).toBe('expired');
    const { createdAt, expiresAt, state } = await access().createToken(lasting);
    expect(state).toBe('valid');
    expect(Math.abs(expiresAt!.getTime() - createdAt.getTime() - 3_600_000)).toBeLessThan(1000);
  });

  it('lets one of many use an enrolment, and none where it is revoked, expired or for something else', async () => {
    const token = newToken('enrol', { domain: 'shared', seconds: 60 });
    await access().createToken(token);
    const other = await under().other();
    const codes = await Promise.all(
      [access(), other.access, access(), other.access].map((one) => codeOf(one.useEnrolment(token.id))),
    );
    expect(codes.sort()).toEqual(['TM1804', 'TM1804', 'TM1804', undefined]);
    expect(await access().findToken(token.id)).toMatchObject({ state: 'used', domain: 'shared' });
    await other.close();
    const fresh = newToken('enrol');
    await access().createToken(fresh);
    expect(await access().useEnrolment(fresh.id)).toMatchObject({ id: fresh.id, state: 'used' });
    const [over, revoked, reader] = [
      newToken('enrol', { seconds: 0 }),
      newToken('enrol'),
      newToken('reader'),
    ];
    for (const one of [over, revoked, reader]) await access().createToken(one);
    await access().revoke({ token: revoked.id });
    for (const id of [over.id, revoked.id, reader.id, 'nobody'])
      expect(await codeOf(access().useEnrolment(id))).toBe('TM1804');
  });

  it('knows agents, and refuses the tokens of one that is revoked', async () => {
    const agent = await newAgent();
    expect(await access().addAgent({ uid: agent.uid, name: 'other', domain: 'other' })).toEqual(agent);
    expect(await access().agents()).toContainEqual(agent);
    expect(agent).toMatchObject({ name: 'host', domain: 'd', instance: undefined, revokedAt: undefined });
    const token = newToken('agent', { agent: agent.uid });
    expect((await access().createToken(token)).state).toBe('valid');
    await access().signOn(agent.uid, 'i', 60);
    expect(await access().revoke({ agent: agent.uid })).toBe(true);
    expect((await access().findToken(token.id))?.state).toBe('revoked');
    expect(await codeOf(access().signOn(agent.uid, 'i', 60))).toBe('TM1801');
    expect(await codeOf(access().touch(agent.uid, 'i'))).toBe('TM1801');
    expect(await access().revoke({ agent: randomUUID() })).toBe(false);
    expect(await codeOf(access().createToken(newToken('agent', { agent: randomUUID() })))).toBe('TM1303');
  });

  it('has one process an agent: another one waits for the sign-off or for silence', async () => {
    const { uid } = await newAgent();
    expect(await access().signOn(uid, 'first', 60)).toMatchObject({ instance: 'first' });
    expect(await codeOf(access().signOn(uid, 'second', 60))).toBe('TM1803');
    expect(await codeOf(access().touch(uid, 'second'))).toBe('TM1803');
    await access().signOff(uid, 'second');
    expect((await access().agent(uid))?.instance).toBe('first');
    const before = (await access().agent(uid))!;
    await access().touch(uid, 'first');
    const after = (await access().agent(uid))!;
    expect(after.instanceSeenAt!.getTime()).toBeGreaterThanOrEqual(before.instanceSeenAt!.getTime());
    expect(await access().signOn(uid, 'first', 60)).toMatchObject({ instance: 'first' });
    expect(await access().signOn(uid, 'second', 0)).toMatchObject({ instance: 'second' });
    expect(await codeOf(access().touch(uid, 'first'))).toBe('TM1803');
    await access().signOff(uid, 'second');
    const off = (await access().agent(uid))!;
    expect([off.instance, off.instanceSeenAt]).toEqual([undefined, undefined]);
    expect(off.lastSeenAt).toBeInstanceOf(Date);
    expect(await codeOf(access().touch(uid, 'second'))).toBe('TM1803');
    expect(await access().signOn(uid, 'third', 60)).toMatchObject({ instance: 'third' });
    expect(await codeOf(access().signOn(randomUUID(), 'i', 60))).toBe('TM1801');
  });

  it('signs one of many on', async () => {
    const { uid } = await newAgent();
    const other = await under().other();
    const codes = await Promise.all(
      Array.from({ length: 8 }, (_, i) => codeOf((i % 2 ? access() : other.access).signOn(uid, `i${i}`, 60))),
    );
    expect(codes.filter((code) => code === undefined)).toHaveLength(1);
    expect(codes.filter((code) => code === 'TM1803')).toHaveLength(7);
    await other.close();
  });

  it('keeps sources of hosts with one name apart, and the embedded mode from both', async () => {
    const { backups } = under().registry;
    const root = Buffer.from(`/${randomUUID()}`);
    const made = (agentUid?: string) =>
      backups.ensureSource({
        uid: randomUUID(),
        agent: 'host',
        agentUid,
        root,
        key: randomBytes(32),
        domain: 'd',
      });
    const [one, two] = [randomUUID(), randomUUID()];
    const first = [await made(one), await made(two), await made()];
    expect(new Set(first.map(({ id }) => id)).size).toBe(3);
    expect(first.map(({ agentUid }) => agentUid)).toEqual([one, two, undefined]);
    expect([await made(one), await made(two), await made()]).toEqual(first);
    const renamed = { ...first[0]!, uid: randomUUID(), agent: 'renamed' };
    expect(await backups.ensureSource(renamed)).toEqual(first[0]);
    expect(await backups.restoreSource({ ...first[0]!, rootHint: '{}' }, 1)).toEqual({
      ...first[0],
      rootHint: '{}',
    });
  });

  it('takes roots of any length that a path may have', async () => {
    const root = Buffer.concat([Buffer.from('/'), randomBytes(4094).map((byte) => byte || 1)]);
    const { backups } = under().registry;
    for (const agentUid of [undefined, randomUUID()]) {
      const source = { agent: 'host', agentUid, root, key: randomBytes(32), domain: 'd' };
      const made = await backups.ensureSource({ ...source, uid: randomUUID() });
      expect(made.root).toEqual(root);
      expect(await backups.ensureSource({ ...source, uid: randomUUID() })).toEqual(made);
    }
  });

  it('keeps what of a domain the writing side needs, and never takes other keys for it', async () => {
    const { domains } = under().registry;
    const domain = {
      id: randomUUID(),
      recipient: 'age1x',
      dedupKey: randomBytes(32),
      digestKey: randomBytes(32),
    };
    expect(await domains.get(domain.id)).toBeUndefined();
    await Promise.all([domains.add(domain), domains.add(domain), domains.add(domain)]);
    expect(await domains.get(domain.id)).toEqual(domain);
    expect((await domains.list()).filter(({ id }) => id === domain.id)).toEqual([domain]);
    for (const other of [
      { dedupKey: randomBytes(32) },
      { digestKey: randomBytes(32) },
      { recipient: 'age1y' },
    ])
      expect(await codeOf(domains.add({ ...domain, ...other }))).toBe('TM1303');
    expect(await domains.get(domain.id)).toEqual(domain);
  });

  it('has one policy a source', async () => {
    const { policies } = under().registry;
    const [one, two] = [await newSource(under().registry), await newSource(under().registry)];
    expect(await policies.get(one.id)).toBeUndefined();
    const policy = { full: { every: '7d' }, list: [1, null, 'ä'] };
    const set = await policies.set(one.id, policy);
    expect(set).toMatchObject({ sourceId: one.id, policy });
    expect(await policies.get(one.id)).toEqual(set);
    const changed = await policies.set(one.id, { paused: true });
    expect(changed.policy).toEqual({ paused: true });
    expect(changed.updatedAt.getTime()).toBeGreaterThanOrEqual(set.updatedAt.getTime());
    await policies.set(two.id, {});
    const listed = (await policies.list()).map(({ sourceId }) => sourceId);
    expect(listed.filter((id) => [one.id, two.id].includes(id))).toEqual([one.id, two.id]);
    for (const { id } of [one, two])
      expect(await policies.list({ afterId: id - 1, limit: 1 })).toEqual([await policies.get(id)]);
    expect(await policies.list({ afterId: two.id, limit: 9 })).toEqual([]);
    expect(await policies.delete(one.id)).toBe(true);
    expect(await policies.delete(one.id)).toBe(false);
    expect(await policies.get(one.id)).toBeUndefined();
    expect(await policies.get(two.id)).toBeDefined();
    expect(await codeOf(policies.set(2 ** 31 - 1, {}))).toBe('TM1811');
  });
}
