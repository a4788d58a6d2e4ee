import { join } from 'node:path';
import { z } from 'zod';
import type { DomainKeys } from '../blocks/keys.ts';
import { agentRoutes } from '../contracts/api/control.ts';
import { DomainView } from '../contracts/api/control-views.ts';
import { createSecret, readSecret } from '../embedded/home.ts';
import { HttpClient } from '../http/client.ts';
import { TmError } from '../model/errors.ts';

const Credentials = z.object({
  version: z.literal(1),
  /** URL of the control plane. */
  server: z.string(),
  agent: z.object({ id: z.string(), name: z.string() }),
  token: z.string(),
  /** It writes with these and can't read back. */
  domain: DomainView,
});

/** What an enrolled agent keeps of the services, in a file for its owner only. */
export type Credentials = z.infer<typeof Credentials>;

const fileOf = (home: string): string => join(home, 'agent', 'server.json');

/** Undefined where this home was never enrolled. Throws TM1405 where others may read the file, TM1010 where it is damaged. */
export async function loadCredentials(home: string): Promise<Credentials | undefined> {
  let bytes: Buffer;
  try {
    bytes = await readSecret(fileOf(home));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const parsed = Credentials.safeParse(jsonOf(bytes));
  if (!parsed.success) throw new TmError('TM1010', `${fileOf(home)} is damaged`);
  return parsed.data;
}

function jsonOf(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
}

/** Uses an enrolment token up and keeps what it gives. Throws TM1804 where it is used up or expired. */
export async function enrol(options: {
  readonly home: string;
  readonly server: string;
  readonly token: string;
  readonly name: string;
}): Promise<Credentials> {
  const { home, server, token, name } = options;
  const client = new HttpClient({ server, token });
  try {
    const { agent, domain, ...reply } = await client.call(agentRoutes.enrol, { body: { name } });
    const made: Credentials = {
      version: 1,
      server,
      agent: { id: agent.id, name: agent.name },
      token: reply.token,
      domain,
    };
    const isOurs = await createSecret(fileOf(home), JSON.stringify(made));
    return isOurs ? made : (await loadCredentials(home))!;
  } finally {
    client.close();
  }
}

export const domainOf = ({ domain }: Credentials): DomainKeys => ({
  id: domain.id,
  recipient: domain.recipient,
  dedupKey: Buffer.from(domain.dedupKey, 'base64'),
  digestKey: Buffer.from(domain.digestKey, 'base64'),
});
