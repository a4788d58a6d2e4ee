import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { agentRoutes as routes } from '../contracts/api/control.ts';
import { type Binding, bind } from '../http/binding.ts';
import { TmError } from '../model/errors.ts';
import { decodeCursor, encodeCursor } from './cursor.ts';
import { checkEnrolment, enrol } from './enrolment.ts';
import { agentOf, type ControlParts } from './parts.ts';
import { makeToken } from './tokens.ts';
import { agentView, domainView } from './views.ts';

const SECONDS_AN_HOUR = 3600;
const ENROL_HOURS = 24;

/** Who there is, and who may talk to the services. */
export function agentHandlers(parts: ControlParts): Binding[] {
  const { authenticator, cell } = parts;
  const { access, domains, catalogue } = cell.registry;
  return [
    bind(routes.enrol, ({ principal, body }) => enrol(parts, principal.tokenId, body.name)),
    bind(routes.signOn, async ({ principal }) => {
      const agent = await access.agent(agentOf(principal));
      const domain = agent && (await domains.get(agent.domain));
      if (!domain) throw new TmError('TM1801', 'the agent or its domain is not known');
      return { agent: agentView(agent), domain: domainView(domain), writers: [...parts.writers] };
    }),
    bind(routes.signOff, async ({ principal, instance }) => {
      await authenticator.signOff(agentOf(principal), instance!);
      return undefined;
    }),
    bind(routes.listAgents, async ({ query: { after, limit } }) => {
      const rows = await catalogue.agents({ afterUid: decodeCursor(z.uuid(), after), limit });
      const last = rows.length < limit ? undefined : rows.at(-1);
      return { agents: rows.map(agentView), next: last ? encodeCursor(last.uid) : null };
    }),
    bind(routes.makeToken, async ({ body: { kind, name, hours, domain, agent } }) => {
      if (kind !== 'enrol' && (domain ?? agent) !== undefined)
        throw new TmError('TM1807', 'body: only an enrolment token has a domain or an agent');
      if (domain !== undefined && agent !== undefined)
        throw new TmError('TM1807', 'body: an agent has its domain already');
      await checkEnrolment(parts, { agent, domain });
      const id = randomUUID();
      const { text, hash } = makeToken(kind, id);
      const lasting = hours ?? (kind === 'enrol' ? ENROL_HOURS : undefined);
      const seconds = lasting && lasting * SECONDS_AN_HOUR;
      const row = await access.createToken({ id, kind, hash, name, agent, domain, seconds });
      return { id, token: text, expiresAt: row.expiresAt?.toISOString() ?? null };
    }),
    bind(routes.revokeToken, async ({ params: { id } }) => {
      if (!(await access.revoke({ token: id })) && !(await access.revoke({ agent: id })))
        throw new TmError('TM1811', `token or agent ${id}`);
      authenticator.forget();
      return undefined;
    }),
  ];
}
