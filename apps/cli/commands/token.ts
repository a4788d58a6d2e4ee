import { randomUUID } from 'node:crypto';
import { makeToken } from '../../../libs/control/tokens.ts';
import { TmError } from '../../../libs/model/errors.ts';
import type { Registry } from '../../../libs/registry/port.ts';
import { type Context, withEngine } from '../context.ts';

interface Options {
  readonly name?: string;
  readonly hours?: string;
  readonly agent?: string;
}

const SECONDS_AN_HOUR = 3600;
const ENROL_HOURS = '24';

/** Tokens of the services on the registry at hand; whoever may open the registry may make them. */
export async function token(
  context: Context,
  [kind, id]: (string | undefined)[],
  options: Options,
): Promise<number> {
  if (kind === 'revoke') return revoke(context, id);
  if (kind !== 'enrol' && kind !== 'reader' && kind !== 'admin')
    throw new TmError('TM1001', `unknown kind ${kind}: enrol, reader, admin and revoke are there`);
  if (id !== undefined) throw new TmError('TM1001', `too many arguments: ${id}`);
  if (options.agent !== undefined && kind !== 'enrol')
    throw new TmError('TM1001', '--agent: only an enrolment token has one');
  const seconds = secondsOf(options.hours ?? (kind === 'enrol' ? ENROL_HOURS : undefined));
  return withEngine(context, false, async ({ registry }) => {
    const { agent, name = `made by tidemark token ${kind}` } = options;
    if (agent !== undefined && !(await isAgent(registry, agent)))
      throw new TmError('TM1811', `agent ${agent}`);
    const made = randomUUID();
    const { text, hash } = makeToken(kind, made);
    const { expiresAt } = await registry.access.createToken({ id: made, kind, hash, name, agent, seconds });
    const until = expiresAt?.toISOString() ?? null;
    output(context, { kind, id: made, token: text, expiresAt: until });
    return 0;
  });
}

function output({ output }: Context, made: { id: string; token: string } & Record<string, unknown>): void {
  output.status(
    `its id is ${made.id}${made.expiresAt === null ? '' : `, it is good until ${made.expiresAt}`}`,
  );
  output.line({ type: 'summary', ...made }, () => made.token);
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

async function isAgent({ access }: Registry, uid: string): Promise<boolean> {
  const row = UUID.test(uid) ? await access.agent(uid) : undefined;
  return row !== undefined && row.revokedAt === undefined;
}

function secondsOf(hours: string | undefined): number | undefined {
  if (hours === undefined) return undefined;
  const count = Number(hours);
  if (!/^\d{1,6}$/.test(hours) || count < 1)
    throw new TmError('TM1002', `--hours ${hours}: a whole number above 0 is expected`);
  return count * SECONDS_AN_HOUR;
}

async function revoke(context: Context, id: string | undefined): Promise<number> {
  if (id === undefined) throw new TmError('TM1001', 'token revoke: say which token or agent, by its id');
  return withEngine(context, false, async ({ registry: { access } }) => {
    const known =
      UUID.test(id) && ((await access.revoke({ token: id })) || (await access.revoke({ agent: id })));
    if (!known) throw new TmError('TM1811', `token or agent ${id}`);
    context.output.line(
      { type: 'summary', revoked: id },
      () => 'Revoked; services refuse it in a few seconds.',
    );
    return 0;
  });
}
