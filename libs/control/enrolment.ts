import { randomUUID } from 'node:crypto';
import { BlockKind } from '../blocks/intake.ts';
import type { DomainKeys } from '../blocks/keys.ts';
import type { AgentView, DomainView } from '../contracts/api/control-views.ts';
import { TmError } from '../model/errors.ts';
import type { AgentRow, TokenRow } from '../registry/port.ts';
import type { JournalRecord } from '../store/journal-records.ts';
import { makeDomain } from './domain-maker.ts';
import type { ControlParts } from './parts.ts';
import { makeToken } from './tokens.ts';
import { agentView, domainView } from './views.ts';

export interface Enrolled {
  readonly agent: AgentView;
  /** Shown this once. */
  readonly token: string;
  readonly domain: DomainView;
}

/**
 * Makes an agent of whoever holds the enrolment token, which is used up by the first one: the agent, its domain unless
 * the token names one, and a token of its own. What comes after is in the journal before it is in the registry; who is
 * killed on the way leaves keys that nobody uses, and needs a new enrolment token.
 */
export async function enrol(parts: ControlParts, tokenId: string, name: string): Promise<Enrolled> {
  const { access, domains } = parts.cell.registry;
  const enrolment = await access.useEnrolment(tokenId);
  if (enrolment.agent !== undefined) return enrolAgain(parts, enrolment.agent);
  if (enrolment.domain === undefined)
    return makeDomain(parts, ({ keys, record }) => addAgent(parts, name, keys, [record]));
  const keys = await domains.get(enrolment.domain);
  if (!keys) throw new TmError('TM1811', `domain ${enrolment.domain}`);
  return addAgent(parts, name, keys, []);
}

/** Checks at once what an enrolment could only fail at. */
export async function checkEnrolment(
  { cell: { registry } }: ControlParts,
  { agent, domain }: Pick<TokenRow, 'agent' | 'domain'>,
): Promise<void> {
  if (agent !== undefined && !(await registry.access.agent(agent)))
    throw new TmError('TM1811', `agent ${agent}`);
  if (domain !== undefined && !(await registry.domains.get(domain)))
    throw new TmError('TM1811', `domain ${domain}`);
}

async function addAgent(
  parts: ControlParts,
  name: string,
  keys: DomainKeys,
  records: readonly JournalRecord[],
): Promise<Enrolled> {
  const { cell } = parts;
  const { access, domains, journal } = cell.registry;
  const uid = randomUUID();
  const sealed = await cell.sealFor(keys)(Buffer.from(JSON.stringify({ name })), BlockKind.run);
  const record: JournalRecord = { kind: 'agent', uid, domain: keys.id, sealed: 0 };
  let agent: AgentRow | undefined;
  await cell.decide([...records, record], [sealed.bytes], async (head) => {
    await domains.add(keys);
    agent = await access.addAgent({ uid, name, domain: keys.id });
    await journal.setHead(head);
  });
  return withToken(parts, agent!, keys);
}

/** The host was set up anew: its sources go on, and what it held before is worth nothing any more. */
async function enrolAgain(parts: ControlParts, uid: string): Promise<Enrolled> {
  const { access, domains } = parts.cell.registry;
  const agent = await access.agent(uid);
  if (!agent || agent.revokedAt) throw new TmError('TM1811', `agent ${uid}`);
  const keys = await domains.get(agent.domain);
  if (!keys) throw new TmError('TM1811', `domain ${agent.domain}`);
  for (const { id, kind, agent: owner, state } of await access.tokens())
    if (kind === 'agent' && owner === uid && state === 'valid') await access.revoke({ token: id });
  if (agent.instance !== undefined) await access.signOff(uid, agent.instance);
  parts.authenticator.forget();
  return withToken(parts, agent, keys);
}

async function withToken(parts: ControlParts, agent: AgentRow, keys: DomainKeys): Promise<Enrolled> {
  const id = randomUUID();
  const { text, hash } = makeToken('agent', id);
  const { uid, name } = agent;
  await parts.cell.registry.access.createToken({ id, kind: 'agent', hash, name, agent: uid });
  return { agent: agentView(agent), token: text, domain: domainView(keys) };
}
